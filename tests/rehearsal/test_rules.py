"""Every rule refuses what it is for, in the account behind the stand-ins, and takes what is right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.rehearsal import aws, gcp, kubernetes
from tools.rehearsal.account import Account, Call, Held, judge
from tools.rehearsal.ledger import ORDERS, Ledger
from tools.rehearsal.package import Resource, fill
from tools.rehearsal.rules import ORDER, RULES

PACKAGES = {package.name: package for package in (aws.PACKAGE, gcp.PACKAGE, kubernetes.PACKAGE)}
CONFIG = {"region": "eu-west-1", "kubeconfig": "kubeconfig of cluster one"}
POD = {"containers": [{"name": "main"}], "serviceAccountName": "train"}
PLACE = {"namespace": "models", "name": "train"}
KEY = "projects/p/locations/europe-west4/keyRings/ring/cryptoKeys/buckets"


def made(kind: str, logical: str = "it", before: frozenset[str] = frozenset(), **inputs: Any) -> Held:
    """A resource as a stand-in answers it."""
    urn = f"urn:pulumi:dev::skerry::{kind}::{logical}"
    package = PACKAGES.get(kind.partition(":")[0])
    outputs = package.computed(Resource(urn, inputs, CONFIG)) if package else {"id": logical}
    identity = outputs.pop("id")
    return Held(urn, inputs, CONFIG, identity, outputs=fill(inputs, outputs), before=before)


SUBNETS = [
    made("aws:ec2/subnet:Subnet", zone, vpcId="vpc-1", cidrBlock=f"10.0.{i}.0/24", availabilityZone=zone)
    for i, zone in enumerate(("eu-west-1a", "eu-west-1c"))
]
VPC = made("aws:ec2/vpc:Vpc", "vpc")
RESERVED = made(
    "aws:ec2/launchTemplate:LaunchTemplate",
    capacityReservationSpecification={"capacityReservationTarget": {"capacityReservationId": "cr-1"}},
)
ROLE = made("aws:iam/role:Role", "train", name="train")
EKS = made("aws:eks/cluster:Cluster", name="one", roleArn=ROLE.outputs["arn"])
POLICY = made("aws:iam/rolePolicy:RolePolicy", "access", role=ROLE.id, policy="{}")
ASSOCIATION = made(
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
    clusterName="one",
    namespace="models",
    serviceAccount="train",
    roleArn=ROLE.outputs["arn"],
)
JOB = made("kubernetes:batch/v1:Job", metadata=PLACE, spec={"template": {"spec": POD}})


def workload(logical: str, *before: Held, **pod: Any) -> Held:
    """A Job of the service account that is granted something; `up` waits for it if its pods are not restarted."""
    annotations = {} if pod else {"pulumi.com/skipAwait": "true"}
    return made(
        "kubernetes:batch/v1:Job",
        logical,
        frozenset(held.urn for held in before),
        metadata={**PLACE, "name": logical, "annotations": annotations},
        spec={"template": {"spec": {**POD, **pod}}},
    )


GRANTED_TO_PODS = made(
    "gcp:storage/bucketIAMMember:BucketIAMMember", member="principal://iam/subject/ns/models/sa/train"
)
CHECK = workload("check", ASSOCIATION, GRANTED_TO_PODS, restartPolicy="Never")
HASTY_JOB = workload("train-coder", ASSOCIATION, GRANTED_TO_PODS)
PATIENT_JOB = workload("train-coder", ASSOCIATION, GRANTED_TO_PODS, CHECK)
S3, S3_KEY = made("aws:s3/bucket:Bucket", bucket="tier-of-a-stack"), made("aws:kms/key:Key")
ENCRYPTED = made(
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    bucket="tier-of-a-stack",
    rules=[{"kmsMasterKeyId": S3_KEY.outputs["arn"]}],
)
BALANCER = made("aws:lb/loadBalancer:LoadBalancer", subnets=[SUBNETS[0].id])
ENDPOINTS = made(
    "aws:globalaccelerator/endpointGroup:EndpointGroup",
    endpointConfigurations=[{"endpointId": BALANCER.outputs["arn"]}],
)
GKE = made("gcp:container/cluster:Cluster", workloadIdentityConfig={"workloadPool": "p.svc.id.goog"})
GCS = made("gcp:storage/bucket:Bucket", name="tier", encryption={"defaultKmsKeyName": KEY})
GCS_KEY = made("gcp:kms/cryptoKey:CryptoKey", name="buckets", keyRing=KEY.partition("/cryptoKeys")[0])
GRANT = made("gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", cryptoKeyId=KEY, member="serviceAccount:a")
SLEEP = made("time:index/sleep:Sleep", "effective", frozenset({GRANT.urn}))
ORDERED = made(
    "gcp:storage/bucket:Bucket",
    "ordered",
    frozenset({GRANT.urn, SLEEP.urn, GCS_KEY.urn}),
    name="tier",
    encryption={"defaultKmsKeyName": KEY},
)
HASTY = Held(ORDERED.urn, ORDERED.inputs, CONFIG, ORDERED.id, before=frozenset({GRANT.urn, GCS_KEY.urn}))
NETWORK = made("gcp:compute/network:Network", name="network-of-a-stack")
USER = made("gcp:compute/subnetwork:Subnetwork", name="s", network=NETWORK.id)


def group(kind: str, *subnets: Held, **inputs: Any) -> Held:
    return made(
        "aws:eks/nodeGroup:NodeGroup", instanceTypes=[kind], subnetIds=[s.id for s in subnets], **inputs
    )


def pool(**inputs: Any) -> Held:
    return made("gcp:container/nodePool:NodePool", cluster="one", location="europe-west4", **inputs)


RESERVING = {"reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION"}}


@dataclass(frozen=True)
class Case:
    """A call that a rule refuses, and one that it takes."""

    rule: str
    call: Call
    refused: Held
    present: tuple[Held, ...]
    """What the account holds then."""
    says: str
    """Part of the refusal."""
    taken: Held
    enough: tuple[Held, ...]
    """What the account holds when it takes the call."""
    later: tuple[Held, ...] = ()
    """What the program declares as well."""
    objects: bool = False


LOGS = made("aws:cloudwatch/logGroup:LogGroup", name="/aws/eks/one/cluster")
TWIN = made("aws:cloudwatch/logGroup:LogGroup", "twin", name="/aws/eks/one/cluster")
LINK = made("aws:ec2/routeTableAssociation:RouteTableAssociation", subnetId=SUBNETS[0].id)
MEMBER = made("gcp:storage/bucketIAMMember:BucketIAMMember", member="principal://iam/pools/p.svc.id.goog/a")
SPACE = made("kubernetes:core/v1:Namespace", metadata={"name": "models"})
ACCOUNT = made("kubernetes:core/v1:ServiceAccount", metadata=PLACE)
ZONE_A, ZONE_C = SUBNETS
CASES = (
    Case("name-exists", "create", TWIN, (LOGS,), "ResourceAlreadyExistsException", TWIN, ()),
    Case("names-what-exists", "create", LINK, (), "does not exist", LINK, (ZONE_A,), (ZONE_A,)),
    Case(
        "aws-offered-in-every-zone",
        "create",
        group("p4d.24xlarge", ZONE_A, ZONE_C),
        (ZONE_A, ZONE_C),
        "(p4d.24xlarge) is not supported in your requested Availability Zone (eu-west-1a)",
        group("p4d.24xlarge", ZONE_C),
        (ZONE_A, ZONE_C),
    ),
    Case(
        "aws-reserved-in-one-zone",
        "create",
        group("m6i.large", ZONE_A, ZONE_C, launchTemplate={"id": RESERVED.id}),
        (ZONE_A, ZONE_C, RESERVED),
        "eu-west-1a, eu-west-1c",
        group("m6i.large", ZONE_C, launchTemplate={"id": RESERVED.id}),
        (ZONE_A, ZONE_C, RESERVED),
    ),
    Case(
        "aws-role-has-its-policies",
        "create",
        EKS,
        (ROLE,),
        "access is not attached yet",
        EKS,
        (ROLE, POLICY),
        (POLICY,),
    ),
    Case(
        "aws-pod-has-its-credentials",
        "create",
        JOB,
        (ROLE, POLICY, SPACE, ACCOUNT),
        "its association it does not exist",
        JOB,
        (ROLE, POLICY, ASSOCIATION, SPACE, ACCOUNT),
        (ASSOCIATION,),
    ),
    Case(
        "pod-comes-after-its-grants-work",
        "create",
        HASTY_JOB,
        (ROLE, POLICY, ASSOCIATION, SPACE, ACCOUNT),
        "AccessDenied in train-coder: it is not effective yet",
        PATIENT_JOB,
        (ROLE, POLICY, ASSOCIATION, SPACE, ACCOUNT, CHECK),
        (CHECK,),
    ),
    Case("aws-bucket-is-empty", "delete", S3, (S3,), "BucketNotEmpty", S3, (), objects=True),
    Case(
        "aws-key-encrypts-nothing", "delete", S3_KEY, (S3,), "is encrypted with key", S3_KEY, (), (ENCRYPTED,)
    ),
    Case("aws-unused", "delete", ZONE_A, (LINK,), "DependencyViolation", ZONE_A, ()),
    Case(
        "aws-no-accelerator-holds-it",
        "delete",
        ZONE_A,
        (ENDPOINTS,),
        "network interfaces of Global Accelerator",
        ZONE_A,
        (),
        (BALANCER,),
    ),
    Case("gcp-identity-pool-exists", "create", MEMBER, (), "Identity Pool does not exist", MEMBER, (GKE,)),
    Case(
        "gcp-key-is-granted",
        "create",
        HASTY,
        (GCS_KEY, GRANT, SLEEP),
        "Permission denied on Cloud KMS key",
        ORDERED,
        (GCS_KEY, GRANT, SLEEP),
    ),
    Case(
        "gcp-disk-fits-machine",
        "create",
        pool(nodeConfig={"machineType": "a3-ultragpu-8g"}),
        (),
        "pd-balanced disk type cannot be used by a3-ultragpu-8g",
        pool(nodeConfig={"machineType": "a3-ultragpu-8g", "diskType": "hyperdisk-balanced"}),
        (),
    ),
    Case(
        "gcp-offered-in-every-zone",
        "create",
        pool(nodeConfig={"machineType": "a2-highgpu-1g"}, nodeLocations=["europe-west4-b", "europe-west4-c"]),
        (),
        "Machine type a2-highgpu-1g does not exist in zone europe-west4-c",
        pool(nodeConfig={"machineType": "a2-highgpu-1g"}, nodeLocations=["europe-west4-a", "europe-west4-b"]),
        (),
    ),
    Case(
        "gcp-reserved-in-one-zone",
        "create",
        pool(nodeConfig=RESERVING, nodeLocations=["europe-west4-a", "europe-west4-b"]),
        (),
        "europe-west4-a, europe-west4-b",
        pool(nodeConfig=RESERVING, nodeLocations=["europe-west4-a"]),
        (),
    ),
    Case("gcp-bucket-is-empty", "delete", GCS, (GCS,), "not empty", GCS, (), objects=True),
    Case("gcp-key-encrypts-nothing", "delete", GCS_KEY, (GCS,), "is encrypted with", GCS_KEY, ()),
    Case("gcp-unused", "delete", NETWORK, (USER,), "resourceInUseByAnotherResource", NETWORK, ()),
    Case("kubernetes-namespace-exists", "create", ACCOUNT, (), '"models" not found', ACCOUNT, (SPACE,)),
    Case(
        "kubernetes-service-account-exists",
        "create",
        JOB,
        (SPACE,),
        'service account: "train" not found',
        JOB,
        (SPACE, ACCOUNT),
    ),
)


def account(case: Case, present: tuple[Held, ...], objects: bool) -> Account:
    held = {item.urn: item for item in present}
    return Account(held, {**held, **{item.urn: item for item in case.later}}, (), objects)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_refuses_what_its_cloud_refuses_and_takes_the_same_made_right(case: Case) -> None:
    refused = judge(RULES, account(case, case.present, case.objects), case.call, case.refused)
    assert case.rule in refused.judged
    assert case.says in dict(refused.refusals)[case.rule]
    taken = judge(RULES, account(case, case.enough, False), case.call, case.taken)
    assert case.rule in taken.judged and case.rule not in dict(taken.refusals)


@pytest.mark.parametrize("grant", [ASSOCIATION, GRANTED_TO_PODS], ids=lambda grant: grant.kind)
def test_pods_of_both_clouds_come_after_something_saw_their_grant_work(grant: Held) -> None:
    alone = Account({}, {held.urn: held for held in (grant, CHECK)}, (), False)
    for job, refused in ((HASTY_JOB, True), (PATIENT_JOB, False), (CHECK, False)):
        found = dict(judge(RULES, alone, "create", job).refusals)
        assert ("pod-comes-after-its-grants-work" in found) == refused, (job, found)


def test_every_rule_has_a_case_and_says_where_its_refusal_is_documented() -> None:
    # Rules of order are tried on whole stacks: tests/contract/test_order.py.
    assert sorted(case.rule for case in CASES) == sorted(rule.name for rule in RULES if rule not in ORDER)
    assert all(len(rule.source) > 20 for rule in RULES)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def order(folder: Path, **content: Any) -> None:
    (folder / ORDERS).write_text(json.dumps(content))


def test_a_service_that_makes_a_name_anew_refuses_the_second_life_of_a_region(ledger: Ledger) -> None:
    cluster = made("aws:eks/cluster:Cluster", name="one", enabledClusterLogTypes=["api"])
    assert ledger.create(LOGS) == ledger.create(cluster) == ""
    assert ledger.delete(cluster.urn) == ledger.delete(LOGS.urn) == ""
    assert "/aws/eks/one/cluster already exists (rehearsal rule name-exists)" in ledger.create(LOGS)


def test_the_nth_creation_is_refused_once_and_counted_from_the_order(ledger: Ledger, tmp_path: Path) -> None:
    order(tmp_path, number=1, refuse_create=2)
    others = [made("aws:iam/role:Role", name) for name in ("first", "second", "third")]
    assert [bool(ledger.create(role)) for role in others] == [False, True, False]
    order(tmp_path, number=2, refuse_create=1)
    assert "refused-position" in ledger.create(others[1])
    assert ledger.create(others[1]) == ""


def test_the_settings_of_a_bucket_end_with_it_and_not_before(ledger: Ledger, tmp_path: Path) -> None:
    for held in (S3, ENCRYPTED, S3_KEY):
        assert ledger.create(held) == ""
    order(tmp_path, objects=True)
    assert "BucketNotEmpty" in ledger.delete(S3.urn) and "is encrypted" in ledger.delete(S3_KEY.urn)
    order(tmp_path, objects=False)
    assert ledger.delete(S3.urn) == ledger.delete(S3_KEY.urn) == ""
    assert ledger.create(ENCRYPTED) == "", "nothing of the old one is left"
