"""The stand-in for `kubernetes`: an object comes back as it was applied, with what a cluster writes into it."""

from __future__ import annotations

import json
import uuid

from components.local.provider.values import Properties
from tools.rehearsal.package import Package, Resource, Row

NAMESPACE = "default"
"""Of a namespaced object that names none."""
CLUSTER_WIDE = {
    "APIService",
    "CSIDriver",
    "ClusterQueue",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrainingRuntime",
    "ComputeClass",
    "CustomResourceDefinition",
    "EC2NodeClass",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "NodeClass",
    "NodePool",
    "PersistentVolume",
    "PriorityClass",
    "ResourceFlavor",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "WorkloadPriorityClass",
}
"""Kinds that stand in no namespace."""
NEG, NEG_STATUS = "cloud.google.com/neg", "cloud.google.com/neg-status"
ZONES = ("us-central1-a", "us-central1-b")
"""Where the network endpoint groups of a rehearsal lie: an object does not say where its cluster is."""
RELEASE = "kubernetes:helm.sh/v3:Release"


def complete(resource: Resource) -> Properties:
    """A name for an object that gives none, as the provider makes one up before it applies anything."""
    if resource.type == RELEASE:
        return {"name": resource.autoname, **resource.inputs}
    metadata = resource.inputs.get("metadata", {})
    if not isinstance(metadata, dict) or "name" in metadata:
        return resource.inputs
    return {**resource.inputs, "metadata": {**metadata, "name": resource.autoname}}


def default(resource: Resource) -> Properties:
    """The metadata that every object gets."""
    given = resource.inputs.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    name = metadata.get("name", resource.autoname)
    namespace = {} if resource.kind in CLUSTER_WIDE else {"namespace": metadata.get("namespace", NAMESPACE)}
    return {
        "id": "/".join([*namespace.values(), name]),
        "metadata": {
            **namespace,
            "name": name,
            "uid": str(uuid.UUID(resource.hex[:32])),
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2024-01-01T00:00:00Z",
        },
    }


def service(resource: Resource) -> Properties:
    """Addresses and ports, and on GKE the endpoint groups that an annotation asks for."""
    made = default(resource)
    spec = resource.inputs.get("spec") or {}
    ports = spec.get("ports") or []
    open_outside = spec.get("type") in ("NodePort", "LoadBalancer")
    balanced = spec.get("type") == "LoadBalancer"
    ingress = {"hostname": f"{resource.hex[:16]}.lb.example.com", "ip": f"203.0.113.{resource.number}"}
    metadata = {**made["metadata"]}
    if groups := _endpoint_groups(resource):
        metadata["annotations"] = {NEG_STATUS: json.dumps(groups)}
    return {
        "metadata": metadata,
        "spec": {
            "clusterIP": f"198.51.100.{resource.number}",
            "type": "ClusterIP",
            "ports": [{"nodePort": 30000 + index} if open_outside else {} for index, _ in enumerate(ports)],
        },
        "status": {"loadBalancer": {"ingress": [ingress]} if balanced else {}},
    }


def job(resource: Resource) -> Properties:
    """A Job whose pods run `false` has failed when it is looked at again; others go on."""
    pod = ((resource.inputs.get("spec") or {}).get("template") or {}).get("spec") or {}
    commands = [container.get("command") for container in pod.get("containers") or []]
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }
    return {"status": {"conditions": [failed]} if resource.id and ["false"] in commands else {}}


def release(resource: Resource) -> Properties:
    """A Helm release: it has no metadata."""
    namespace, name = (
        resource.inputs.get("namespace", NAMESPACE),
        resource.inputs.get("name", resource.autoname),
    )
    status = {"name": name, "namespace": namespace, "revision": 1, "status": "deployed"}
    return {"id": f"{namespace}/{name}", "status": status, "resourceNames": {}}


def _endpoint_groups(resource: Resource) -> Properties:
    metadata = resource.inputs.get("metadata") or {}
    asked = (metadata.get("annotations") or {}).get(NEG)
    if not asked:
        return {}
    ports = json.loads(asked).get("exposed_ports", {})
    groups = {
        port: (told or {}).get("name") or f"k8s1-{resource.hex[:8]}-{port}" for port, told in ports.items()
    }
    return {"network_endpoint_groups": groups, "zones": list(ZONES)}


ROWS: dict[str, Row] = {
    "kubernetes:batch/v1:Job": job,
    "kubernetes:core/v1:Service": service,
    RELEASE: release,
}

PACKAGE = Package("kubernetes", "tools/rehearsal/kubernetes.py", default, ROWS, {}, complete)
