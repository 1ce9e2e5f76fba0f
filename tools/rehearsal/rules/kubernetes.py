"""What a cluster refuses, and what it accepts although it can never work."""

from __future__ import annotations

from typing import Any

from tools.rehearsal.account import ALLOWED, Account, Held, Identity, Rule, Verdict
from tools.rehearsal.kubernetes import CLUSTER_WIDE, NAMESPACE, RELEASE
from tools.rehearsal.rules import aws

ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
SPACE, SERVICE_ACCOUNT = "kubernetes:core/v1:Namespace", "kubernetes:core/v1:ServiceAccount"
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
)
