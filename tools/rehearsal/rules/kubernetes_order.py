"""What must exist before an object of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.rehearsal.account import Account, Held, texts
from tools.rehearsal.rules import aws, gcp
from tools.rehearsal.rules.kubernetes import cluster, name, namespace, pod
from tools.rehearsal.rules.needs import need, selects

CORE, RBAC = "kubernetes:core/v1:", "kubernetes:rbac.authorization.k8s.io/v1:"
SERVICE, CONFIG_MAP = f"{CORE}Service", f"{CORE}ConfigMap"
BINDINGS = (f"{RBAC}RoleBinding", f"{RBAC}ClusterRoleBinding")
CLASS = "kubernetes:scheduling.k8s.io/v1:PriorityClass"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
SCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
HOST = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc\b")


def beside(account: Account, held: Held, *types: str) -> Iterator[Held]:
    """What is declared of these types in the same cluster."""
    return (other for other in account.declared(*types) if cluster(other) == cluster(held))


def workloads(account: Account, service: Held) -> Iterator[Held]:
    """What makes the pods that a Service sends to."""
    for other in account.known.values():
        place = cluster(other), namespace(other)
        labels = other.at("spec.template.metadata.labels") if pod(other) else None
        if place == (cluster(service), namespace(service)) and selects(service.at("spec.selector"), labels):
            yield other


def nodes(account: Account, held: Held) -> Iterator[Held]:
    """The groups of nodes of an object's cluster that take every pod."""
    for group in account.declared(aws.GROUP):
        if str(group.at("clusterName")) in cluster(held) and not group.at("taints"):
            yield group
    for made in account.declared(gcp.CLUSTER):
        endpoints: Any = made.outputs.get("controlPlaneEndpointsConfig") or {}
        if str((endpoints.get("dnsEndpointConfig") or {}).get("endpoint")) in cluster(held):
            for pool in account.declared(gcp.POOL):
                if pool.at("cluster") == made.id and not pool.at("nodeConfig.taints"):
                    yield pool


def system_nodes(account: Account, held: Held) -> Iterator[Held]:
    return nodes(account, held) if held.type.startswith("kubernetes:") and pod(held) else iter(())


def rights(account: Account, held: Held) -> Iterator[Held]:
    """Bindings of the service account of a pod, and the roles that they name."""
    spec = pod(held) or {}
    subject = {"kind": "ServiceAccount", "name": spec.get("serviceAccountName"), "namespace": namespace(held)}
    for binding in beside(account, held, *BINDINGS):
        if spec and subject in (binding.at("subjects") or []):
            yield binding
            wanted = binding.at("roleRef.kind"), binding.at("roleRef.name")
            for role in beside(account, held, f"{RBAC}{wanted[0]}"):
                if name(role) == wanted[1]:
                    yield role


def policies(account: Account, held: Held) -> Iterator[Held]:
    """The policies that select the pods of a workload by their labels."""
    labels = held.at("spec.template.metadata.labels") if pod(held) else None
    for policy in beside(account, held, POLICY):
        chosen = policy.at("spec.podSelector.matchLabels")
        if namespace(policy) == namespace(held) and selects(chosen, labels):
            yield policy


def classes(account: Account, held: Held) -> Iterator[Held]:
    wanted = (pod(held) or {}).get("priorityClassName")
    return (one for one in beside(account, held, CLASS) if wanted and name(one) == wanted)


def scaled(account: Account, held: Held) -> Iterator[Held]:
    for other in beside(account, held, f"kubernetes:apps/v1:{held.at('spec.scaleTargetRef.kind')}"):
        if held.type == SCALER and (namespace(other), name(other)) == (
            namespace(held),
            held.at("spec.scaleTargetRef.name"),
        ):
            yield other


def named(account: Account, held: Held) -> Iterator[Held]:
    """Services whose host a pod or its configuration names, and what makes the pods behind them."""
    if pod(held) is None and held.type != CONFIG_MAP:
        return
    words = " ".join(texts(held.inputs))
    hosts = set(HOST.findall(words))
    for service in beside(account, held, SERVICE):
        near = namespace(service) == namespace(held) and f"{name(service)}:" in words
        if near or (name(service), namespace(service)) in hosts:
            yield service
            yield from workloads(account, service)


RULES = (
    need(
        "kubernetes-pod-has-nodes",
        "the scheduler leaves a pod pending without a node, and `up` waits for it: Kubernetes documentation, "
        "Scheduling; unresolved: from memory",
        system_nodes,
        "0/0 nodes are available",
    ),
    need(
        "kubernetes-pod-has-its-rights",
        "the API server answers 403 to an account without a binding: Kubernetes documentation, Using RBAC "
        "Authorization; unresolved: from memory",
        rights,
        "forbidden",
    ),
    need(
        "kubernetes-pod-has-its-policy",
        "a pod that starts before its policy may run without it: kubernetes/website#39875, Pod lifecycle; read "
        "2026-12-01",
        policies,
        "the pods run without their policy",
    ),
    need(
        "kubernetes-priority-class-exists",
        "the API server's Priority admission rejects a pod of an unknown class: Kubernetes documentation, Pod Priority "
        "and Preemption; unresolved: from memory",
        classes,
        "no PriorityClass with this name was found",
    ),
    need(
        "kubernetes-scaled-exists",
        "condition AbleToScale is false with reason FailedGetScale: Kubernetes documentation, Horizontal Pod "
        "Autoscaling; unresolved: from memory",
        scaled,
        "FailedGetScale",
    ),
    need(
        "kubernetes-host-exists",
        "a Service's name is not found before the Service: Kubernetes documentation, DNS for Services and Pods; "
        "unresolved: from memory",
        named,
        "the host is not found",
    ),
)
