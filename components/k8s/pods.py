"""Pods under the profile `restricted`, as plain data in the words of Kubernetes. Nothing is made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts import Egress, Placement
from components.k8s.disks import SMALL, PodDisk

Json = Any
"""An object in Kubernetes' own words: its types are the API server's, not Python's."""

NAMESPACE = "skerry"
USER = 10001
"""User and group of the bundled images; any number but 0 would do under the profile."""
HOSTNAME = "kubernetes.io/hostname"
SCRATCH = "/tmp"
NO_AWAIT = {"pulumi.com/skipAwait": "true"}
"""Of an object that `up` does not wait for."""
UP_MARGIN_SECONDS = 300
"""By which `up` waits longer for an object than the cluster does, so that it reports the cluster's own words."""
REQUESTS, WORK = "skerry-requests", "skerry-work"
"""Priority classes, made by `K8sPriorities`: pods that answer requests, and pods that do work which can start again."""
SYSTEM = "system-cluster-critical"
"""Priority class that every cluster has, for agents that the cluster itself needs."""
KEEP = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
"""Annotation of a pod that the autoscaler must not evict to remove its node: its work would be lost or interrupted.
GKE's autoscaler reads the same annotation (kubernetes/autoscaler, cluster-autoscaler/FAQ.md, "What types of pods can
prevent CA from removing a node?", read 2026-12-01)."""
PART_OF = {"app.kubernetes.io/part-of": "skerry"}
"""Label of every pod."""


def plain(manifest: Mapping[str, Any]) -> Json:
    """A part of a manifest as it is: the SDK's own types know other spellings of its keys only."""
    return dict(manifest)


def labels(component: str, instance: str) -> dict[str, str]:
    """Labels of one thing and its pods, by Kubernetes' recommended keys."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/instance": instance,
        **PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
    }


def selector(component: str, instance: str) -> dict[str, str]:
    """The part of `labels` that tells pods apart; it never changes, for a Deployment's selector cannot."""
    return {
        key: value
        for key, value in labels(component, instance).items()
        if key.endswith(("/name", "/instance"))
    }


def container(
    name: str,
    image: str,
    command: Sequence[Any],
    resources: Json,
    *,
    environment: Mapping[str, str] | None = None,
    env: Sequence[Json] = (),
    **more: Any,
) -> Json:
    """A container that may write to its scratch folder only.

    Args:
        name: of the container.
        image: pinned by digest.
        command: its words; Outputs are allowed.
        resources: requests and limits.
        environment: variables by their values.
        env: variables from elsewhere, in Kubernetes' words.
        more: ports, probes and what else a container has.
    """
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [*({"name": key, "value": value} for key, value in (environment or {}).items()), *env],
        "resources": resources,
        # The end of a failed container's log is in the pod's status, where `kubectl describe` and `up` show it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}, *more.pop("volumeMounts", [])],
        **more,
    }


def pod(main: Json, account: Any, priority: str, disk: PodDisk = SMALL, **more: Any) -> Json:
    """A pod of one container.

    Args:
        main: from `container`.
        account: name of its service account, which also names its image pull secrets.
        priority: name of its priority class: `REQUESTS`, `WORK` or `SYSTEM`.
        disk: what of the node's disk it may take.
        more: placement, restart policy and what else a pod has.
    """
    return {
        "serviceAccountName": account,
        "priorityClassName": priority,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**main, "resources": disk.added_to(main["resources"])}],
        "volumes": [{"name": "scratch", **disk.volume}, *more.pop("volumes", [])],
        **more,
    }


def placed(placement: Placement) -> Json:
    """Fields of a pod that put it on a node of a pool, alone: no other pod of Skerry shares the node, whichever run,
    service or namespace it is of. Without this, pods that request no accelerator share one."""
    return {
        "nodeSelector": {**placement.node_selector, "kubernetes.io/arch": placement.architecture},
        "tolerations": [
            {"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect}
            for taint in placement.tolerations
        ],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "labelSelector": {"matchLabels": PART_OF},
                        "namespaceSelector": {},
                        "topologyKey": HOSTNAME,
                    }
                ]
            }
        },
    }


SERVING, SERVING_PORT = "serving", 8000
METRICS_PORT, METRICS_PATH = 8001, "/metrics"
"""Port and path for scrapes. The port serves nothing else, so a scraper cannot send a replica requests."""
GATEWAY = selector("gateway", "region")
"""Who answers requests, and who hands them on: each lets in, and reaches, the other."""


def service_name(service: str) -> str:
    """What a service's objects are called: no service takes the name of anything else in the namespace."""
    return f"serve-{service}"


def disruption_budget(chosen: Mapping[str, str]) -> Json:
    """Spec of a PodDisruptionBudget: one pod at a time may be evicted. A pod that is not ready may always be evicted,
    because it serves nobody and would otherwise block the drain of its node for as long as it stays unready."""
    return {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": dict(chosen)},
    }


def scraping(namespaces: Sequence[str], port: int) -> list[Json]:
    """Ingress rules for pods of the namespaces that may scrape; none without a namespace, since an empty list of
    places would mean everywhere."""
    name = "kubernetes.io/metadata.name"
    places = [{"namespaceSelector": {"matchLabels": {name: namespace}}} for namespace in namespaces]
    return [{"from": places, "ports": [{"protocol": "TCP", "port": port}]}] if places else []


def scraped(namespaces: Sequence[str], port: int, path: str) -> dict[str, str]:
    """Annotations by which the usual configuration of Prometheus finds pods to scrape; none where nobody may."""
    told = {"scrape": "true", "port": str(port), "path": path}
    return {f"prometheus.io/{key}": value for key, value in told.items()} if namespaces else {}


def named(names: Sequence[str]) -> list[Json]:
    """References to objects of the same namespace."""
    return [{"name": name} for name in names]


def spread(placement_keys: Sequence[str], chosen: Mapping[str, str]) -> list[Json]:
    """Spreads pods over zones and nodes as far as there are some."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(chosen)},
        }
        for key in placement_keys
    ]


def whole_node(placement: Placement, cpu: str, memory: str) -> Json:
    """Resources of a pod that `placed` puts on a node alone. Memory is limited to what the node has for pods, so that
    the pod is ended before the node's own processes are. CPU has no limit.

    Args:
        placement: of the pool.
        cpu: least CPU, in Kubernetes' units.
        memory: least memory, in Kubernetes' units.
    """
    extended = {name: str(count) for name, count in placement.resources.items()}
    return {
        "requests": {"cpu": cpu, "memory": memory, **extended},
        "limits": {"memory": f"{placement.memory_mib}Mi", **extended},
    }


def policy(chosen: Mapping[str, str], ingress: Sequence[Json] = (), egress: Sequence[Json] = ()) -> Json:
    """What pods may be reached by and reach, on top of the namespace's refusal of everything but DNS."""
    return {
        "podSelector": {"matchLabels": dict(chosen)},
        "policyTypes": [kind for kind, rules in (("Ingress", ingress), ("Egress", egress)) if rules],
        "ingress": list(ingress),
        "egress": list(egress),
    }


def reach(destinations: Sequence[Egress]) -> list[Json]:
    """Egress rules to addresses."""
    return [
        {"to": [{"ipBlock": {"cidr": one.cidr}}], "ports": [{"protocol": "TCP", "port": one.port}]}
        for one in dict.fromkeys(destinations)
    ]
