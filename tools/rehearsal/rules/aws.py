"""What AWS refuses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from tools.rehearsal.account import ALLOWED, Account, Held, Identity, Rule, Verdict, texts, users

NAMES: Mapping[str, tuple[str, ...]] = {
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
    "aws:ec2/route:Route": ("routeTableId", "destinationCidrBlock"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": ("subnetId",),
    "aws:ec2/securityGroup:SecurityGroup": ("vpcId", "name"),
    "aws:ec2/subnet:Subnet": ("vpcId", "cidrBlock"),
    "aws:eks/accessEntry:AccessEntry": ("clusterName", "principalArn"),
    "aws:eks/addon:Addon": ("clusterName", "addonName"),
    "aws:eks/cluster:Cluster": ("name",),
    "aws:eks/nodeGroup:NodeGroup": ("clusterName", "nodeGroupName"),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": ("clusterName", "namespace", "serviceAccount"),
    "aws:iam/policy:Policy": ("name",),
    "aws:iam/role:Role": ("name",),
    "aws:kms/alias:Alias": ("name",),
    "aws:lb/loadBalancer:LoadBalancer": ("name",),
    "aws:lb/targetGroup:TargetGroup": ("name",),
    "aws:s3/bucket:Bucket": ("bucket",),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (),
}
"""Type -> inputs that make it unique in a region, all given. A rule of a security group is unique as a whole."""
BUCKET, CLUSTER, GROUP = "aws:s3/bucket:Bucket", "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
ENDPOINTS = "aws:globalaccelerator/endpointGroup:EndpointGroup"
KEY, LAUNCH = "aws:kms/key:Key", "aws:ec2/launchTemplate:LaunchTemplate"
LOGS, SUBNET = "aws:cloudwatch/logGroup:LogGroup", "aws:ec2/subnet:Subnet"
POLICIES = ("aws:iam/rolePolicy:RolePolicy", "aws:iam/rolePolicyAttachment:RolePolicyAttachment")
ROLE = "aws:iam/role:Role"
ROLES = {
    CLUSTER: "roleArn",
    GROUP: "nodeRoleArn",
    "aws:ec2/flowLog:FlowLog": "iamRoleArn",
}
"""Types that act with a role as soon as they exist."""
IN_USE = {
    "aws:ec2/internetGateway:InternetGateway": "DependencyViolation",
    "aws:ec2/securityGroup:SecurityGroup": "DependencyViolation",
    SUBNET: "DependencyViolation",
    "aws:ec2/vpc:Vpc": "DependencyViolation",
    CLUSTER: "ResourceInUseException",
    "aws:lb/targetGroup:TargetGroup": "ResourceInUse",
    ROLE: "DeleteConflict",
}
"""Types that are not deleted while something names them, and the error's code."""


def region(held: Held) -> str:
    return str(held.at("region") or held.config.get("region") or "")


def identity(held: Held) -> Identity | None:
    fields = NAMES.get(held.type)
    if fields is None:
        return None
    if not fields:
        return (held.type, region(held), json.dumps(held.inputs, sort_keys=True))
    values = [held.inputs.get(field) for field in fields]
    if not all(isinstance(value, str) for value in values):
        return None
    return (held.type, region(held), *map(str, values))


def made_anew(held: Held) -> Identity | None:
    """The log group that EKS makes again when it writes the last logs of a deleted cluster."""
    if held.type == CLUSTER and held.at("enabledClusterLogTypes"):
        return (LOGS, region(held), f"/aws/eks/{held.at('name')}/cluster")
    return None


def is_part(held: Held, bucket: Held) -> bool:
    """Whether it is a setting of a bucket, which ends with the bucket."""
    return held.type.startswith("aws:s3/bucket") and held.type != BUCKET and held.at("bucket") == bucket.id


@cache
def zones_offering(place: str) -> Mapping[str, frozenset[str]]:
    """Machine type -> the zones of a region that offer it."""
    folder = files("moto.ec2") / "resources" / "instance_type_offerings" / "availability-zone"
    offers = json.loads(gzip.decompress((folder / f"{place}.json.gz").read_bytes()))
    found: dict[str, set[str]] = {}
    for offer in offers:
        found.setdefault(offer["InstanceType"], set()).add(offer["Location"])
    return {kind: frozenset(zones) for kind, zones in found.items()}


def _subnets(account: Account, held: Held) -> list[Held]:
    named = set(held.at("subnetIds") or held.at("vpcConfig.subnetIds") or held.at("subnets") or ())
    return [subnet for subnet in account.declared(SUBNET) if subnet.id in named]


def offered_in_every_zone(account: Account, group: Held) -> Verdict:
    if group.type != GROUP:
        return None
    for subnet in _subnets(account, group):
        for kind in group.at("instanceTypes") or []:
            zone = str(subnet.at("availabilityZone"))
            if zone not in zones_offering(region(group)).get(kind, frozenset()):
                return (
                    f"InvalidRequestException: Your requested instance type ({kind}) is not supported in your "
                    f"requested Availability Zone ({zone})"
                )
    return ALLOWED


def reserved_in_one_zone(account: Account, group: Held) -> Verdict:
    if group.type != GROUP:
        return None
    templates = [held for held in account.declared(LAUNCH) if held.id == group.at("launchTemplate.id")]
    wanted = "capacityReservationSpecification.capacityReservationTarget"
    if not any(template.at(wanted) for template in templates):
        return None
    zones = {str(subnet.at("availabilityZone")) for subnet in _subnets(account, group)}
    if len(zones) > 1:
        return f"ReservationCapacityExceeded: the reservation is not in each of {', '.join(sorted(zones))}"
    return ALLOWED


def role_has_its_policies(account: Account, held: Held) -> Verdict:
    if held.type not in ROLES:
        return None
    arn = held.at(ROLES[held.type])
    for role in account.declared(ROLE):
        if role.outputs.get("arn") == arn:
            for policy in policies(account, role):
                if account.lacks(policy):
                    return (
                        f"AccessDenied: role {role.id} is not authorized: {policy.name} is not attached yet"
                    )
    return ALLOWED


def policies(account: Account, role: Held) -> Iterator[Held]:
    """The policies that the programs give to a role."""
    return (held for held in account.declared(*POLICIES) if held.at("role") in (role.id, role.at("name")))


def empty(account: Account, bucket: Held) -> Verdict:
    if bucket.type != BUCKET:
        return None
    if account.objects and not bucket.at("forceDestroy"):
        return f"BucketNotEmpty: The bucket you tried to delete is not empty ({bucket.id})"
    return ALLOWED


def encrypts_nothing(account: Account, key: Held) -> Verdict:
    """KMS itself schedules the deletion. What the key encrypted is then lost, so a rehearsal refuses it."""
    if key.type != KEY:
        return None
    for encryption in account.declared(ENCRYPTION):
        if key.handles & set(texts(encryption.inputs)):
            for bucket in account.of(BUCKET):
                if bucket.id == encryption.at("bucket"):
                    return f"KMSInvalidStateException: bucket {bucket.id} is encrypted with key {key.id}"
    for user in users(account, key):
        if user.type in (LOGS, CLUSTER):
            return f"KMSInvalidStateException: {user.kind} {user.id} is encrypted with key {key.id}"
    return ALLOWED


def unused(account: Account, held: Held) -> Verdict:
    if held.type not in IN_USE:
        return None
    for user in users(account, held):
        return f"{IN_USE[held.type]}: {held.id} has a dependent object: {user.kind} {user.id}"
    return ALLOWED


def no_accelerator_holds_it(account: Account, subnet: Held) -> Verdict:
    """Global Accelerator keeps network interfaces beside a load balancer that it sends to."""
    if subnet.type != SUBNET:
        return None
    balancers = {
        held.outputs.get("arn")
        for held in account.declared("aws:lb/loadBalancer:LoadBalancer")
        if subnet.id in texts(held.inputs)
    }
    for group in account.of(ENDPOINTS):
        if balancers & set(texts(group.inputs)):
            return f"DependencyViolation: {subnet.id} has network interfaces of Global Accelerator ({group.name})"
    return ALLOWED


RULES = (
    Rule(
        "aws-offered-in-every-zone",
        "create",
        "eksctl-io/eksctl#6461; offers by zone: moto's instance_type_offerings; read 2026-12-01",
        offered_in_every_zone,
    ),
    Rule(
        "aws-reserved-in-one-zone",
        "create",
        "terraform-aws-modules/terraform-aws-eks, pull request 3731; read 2026-11-30",
        reserved_in_one_zone,
    ),
    Rule(
        "aws-role-has-its-policies",
        "create",
        "docstring of eks.Cluster in pulumi-aws: permissions exist before the cluster; read 2026-12-01",
        role_has_its_policies,
    ),
    Rule("aws-bucket-is-empty", "delete", "S3 API, error code BucketNotEmpty; read 2026-12-01", empty),
    Rule(
        "aws-key-encrypts-nothing",
        "delete",
        "of this rehearsal: KMS accepts (ScheduleKeyDeletion) and the data cannot be read any more",
        encrypts_nothing,
    ),
    Rule("aws-unused", "delete", "EC2's error code DependencyViolation, IAM's DeleteConflict", unused),
    Rule(
        "aws-no-accelerator-holds-it",
        "delete",
        "aws-solutions-library-samples/global-capacity-orchestrator-on-aws#130; read 2026-11-30",
        no_accelerator_holds_it,
    ),
)
