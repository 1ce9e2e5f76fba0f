"""What a cluster refuses, and what it accepts although it can never work."""

from __future__ import annotations

import re
from typing import Any

from tools.rehearsal.account import ALLOWED, Account, Held, Identity, Rule, Verdict
from tools.rehearsal.kubernetes import CLUSTER_WIDE, NAMESPACE, RELEASE
from tools.rehearsal.rules import aws, gcp

ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
SPACE, SERVICE_ACCOUNT = "kubernetes:core/v1:Namespace", "kubernetes:core/v1:ServiceAccount"
JOB = "kubernetes:batch/v1:Job"
BUCKET_GRANT = "gcp:storage/bucketIAMMember:BucketIAMMember"
BUILT_IN = ("default", "kube-node-lease", "kube-public", "kube-system")


def cluster(held: Held) -> str:
    return str(held.config.get("kubeconfig", ""))


def name(held: Held) -> str:
    return str(held.at("metadata.name") or held.at("name") or "")


def namespace(held: Held) -> str:
    return str(held.at("metadata.namespace") or held.at("namespace") or NAMESPACE)


def identity(held: Held) -> Identity | None:
    place = "" if held.kind in CLUSTER_WIDE else namespace(held)
    return (held.type, cluster(held), place, name(held))


def namespace_exists(account: Account, held: Held) -> Verdict:
    if not held.type.startswith("kubernetes:") or held.kind in CLUSTER_WIDE or held.type == RELEASE:
        return None
    wanted = namespace(held)
    here = [space for space in account.of(SPACE) if cluster(space) == cluster(held)]
    if wanted in BUILT_IN or any(name(space) == wanted for space in here):
        return ALLOWED
    return f'namespaces "{wanted}" not found'


def pod(held: Held) -> dict[str, Any] | None:
    """The pod's spec of an object that makes pods."""
    for path in ("spec.template.spec", "spec.jobTemplate.spec.template.spec"):
        spec = held.at(path)
        if isinstance(spec, dict) and "containers" in spec:
            return spec
    return None


def service_account_exists(account: Account, held: Held) -> Verdict:
    spec = pod(held) if held.type.startswith("kubernetes:") else None
    wanted = (spec or {}).get("serviceAccountName", "default")
    if spec is None or wanted == "default":
        return None
    for found in account.of(SERVICE_ACCOUNT):
        if (cluster(found), namespace(found), name(found)) == (cluster(held), namespace(held), wanted):
            return ALLOWED
    return f'pods "{name(held)}" is forbidden: error looking up service account: "{wanted}" not found'


def pod_has_its_credentials(account: Account, held: Held) -> Verdict:
    """EKS puts credentials into a pod when it is admitted. One that came before its association never gets any."""
    spec = pod(held) if held.type.startswith("kubernetes:") else None
    if spec is None:
        return None
    place = (namespace(held), spec.get("serviceAccountName"))
    associations = [
        found
        for found in account.declared(ASSOCIATION)
        if str(found.at("clusterName")) in cluster(held)
        and (found.at("namespace"), found.at("serviceAccount")) == place
    ]
    if not associations:
        return None
    for association in associations:
        if account.lacks(association):
            return f"no credentials in {name(held)}: its association {association.name} does not exist"
        role = [r for r in account.declared(aws.ROLE) if r.outputs.get("arn") == association.at("roleArn")]
        for policy in (policy for found in role for policy in aws.policies(account, found)):
            if account.lacks(policy):
                return f"AccessDenied in {name(held)}: {policy.name} is not attached to its role yet"
    return ALLOWED


def grants_were_seen_to_work(account: Account, held: Held) -> Verdict:
    """A grant is effective some time after the call that makes it, and a pod may fail for good until then: so a pod
    comes after a delay, or after a Job of the same service account that `up` waited for. Such a Job needs neither,
    since every try of it is a new pod."""
    spec = pod(held) if held.type.startswith("kubernetes:") else None
    if spec is None or not held.before or _tries_until_it_ends_well(held):
        return None
    place = (namespace(held), str(spec.get("serviceAccountName")))
    given = [grant for grant in account.declared(ASSOCIATION) if _in_the_cluster_of(held, grant)]
    given = [grant for grant in (*given, *account.declared(BUCKET_GRANT)) if _whose(grant) == place]
    if not given:
        return None
    # Clusters of one project share their service accounts, so what another region is granted may come later.
    given = [grant for grant in given if grant.urn in held.before] or given
    seen = [job for job in account.declared(JOB) if _tries_until_it_ends_well(job) and _pods_of(job) == place]
    for grant in given:
        waits = (wait for wait in (*seen, *account.declared(gcp.SLEEP)) if wait.urn in held.before)
        if not any(grant.urn in wait.before for wait in waits):
            return f"AccessDenied in {name(held)}: {grant.name} is not effective yet"
    return ALLOWED


def _in_the_cluster_of(held: Held, association: Held) -> bool:
    return str(association.at("clusterName")) in cluster(held)


def _whose(grant: Held) -> tuple[str, str]:
    """Namespace and name of the service account that is granted something."""
    if grant.type == ASSOCIATION:
        return (str(grant.at("namespace")), str(grant.at("serviceAccount")))
    found = re.search("/subject/ns/([^/]+)/sa/([^/]+)$", str(grant.at("member")))
    return (found[1], found[2]) if found else ("", "")


def _pods_of(job: Held) -> tuple[str, str]:
    return (namespace(job), str((pod(job) or {}).get("serviceAccountName")))


def _tries_until_it_ends_well(held: Held) -> bool:
    annotations = held.at("metadata.annotations") or {}
    awaited = isinstance(annotations, dict) and annotations.get("pulumi.com/skipAwait") != "true"
    return held.type == JOB and awaited and (pod(held) or {}).get("restartPolicy") == "Never"


RULES = (
    Rule(
        "kubernetes-namespace-exists",
        "create",
        "the API server's NamespaceLifecycle admission, Kubernetes documentation; read 2026-12-01",
        namespace_exists,
    ),
    Rule(
        "kubernetes-service-account-exists",
        "create",
        "the API server's ServiceAccount admission, Kubernetes documentation; read 2026-12-01",
        service_account_exists,
    ),
    Rule(
        "aws-pod-has-its-credentials",
        "create",
        "aws/containers-roadmap#2507, aws/amazon-eks-pod-identity-webhook#264; read 2026-11-30",
        pod_has_its_credentials,
    ),
    Rule(
        "pod-comes-after-its-grants-work",
        "create",
        'EKS API, CreatePodIdentityAssociation ("several seconds"); IAM of Google Cloud, "Access change propagation" '
        "(minutes); read 2026-12-01",
        grants_were_seen_to_work,
    ),
)
