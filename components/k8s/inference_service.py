"""Replicas of a model version on a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi import CustomTimeouts, Input, Output, ResourceOptions

from components.contracts import ModelVersion, Placement
from components.envoy.config import READY_PATH
from components.k8s import pods
from components.k8s.disks import PodDisk
from components.k8s.identity import K8sIdentity
from components.k8s.settings import LEAVING_SECONDS
from components.serving import limit_flags
from components.settings.items import ServiceSettings

LIVE_PATH = "/v2/health/live"
THREADS = 1
TERMINATION_MARGIN_SECONDS = 15
START_PERIOD_SECONDS, START_TRIES = 10, 120
"""A replica may take twenty minutes to load a version, which may still be on its way to the tier."""
NODE_SECONDS = 900
"""Before that a node is bought, for each rung of the pool's ladder: the cluster autoscaler gives one up after as long
(its default --max-node-provision-time; kubernetes/autoscaler, cluster-autoscaler/FAQ.md, read 2026-12-01)."""
KEYS_FOLDER, KEYS_ENTRY = "/etc/skerry/api-keys", "keys"
"""Where a replica finds the Secret of API keys, and which entry of it."""
COMPILED = f"{pods.SCRATCH}/compiled"
"""Compiled layers: they outlive the container, so that a restart does not compile again, and not the pod."""
TARGET_CPU_PERCENT = 70
"""Of the request, at which the autoscaler adds a replica. CPU is the one figure that every cluster measures itself."""


class K8sInferenceService(pulumi.ComponentResource):
    """A Deployment of the serving workload with its Service, autoscaler, disruption budget and policy. `address` is the
    Service's name and port as JSON."""

    def __init__(
        self,
        name: str,
        service: ServiceSettings,
        version: ModelVersion,
        *,
        region: str,
        namespace: Input[str],
        image: str,
        placement: Placement,
        identity: K8sIdentity,
        model_uri: Output[str],
        drain_seconds: int,
        scrapers: Sequence[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sInferenceService", name, {}, opts)
        chosen = pods.selector(pods.SERVING, service.name)
        title = pods.service_name(service.name)
        metadata: pods.Json = {"name": title, "namespace": namespace, "labels": chosen}
        child = ResourceOptions(parent=self)
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=pods.policy(
                chosen,
                ingress=[
                    {
                        "from": [{"podSelector": {"matchLabels": pods.GATEWAY}}],
                        "ports": [{"protocol": "TCP", "port": pods.SERVING_PORT}],
                    },
                    *pods.scraping(scrapers, pods.METRICS_PORT),
                ],
                egress=pods.reach(identity.egress),
            ),
            opts=child,
        )
        self.service = k8s.core.v1.Service(
            f"{name}-service",
            metadata=pods.plain({**metadata, "annotations": pods.NO_AWAIT}),
            # Headless: the gateway's own health checks and balancing see each replica.
            spec=pods.plain(
                {
                    "clusterIP": "None",
                    "selector": chosen,
                    "ports": [{"name": "http", "port": pods.SERVING_PORT}],
                }
            ),
            opts=child,
        )
        pod = _pod(service, version, region, image, placement, identity, model_uri, drain_seconds, chosen)
        # Where an autoscaler chooses the number of replicas, a number here would undo its choice at every `up`.
        scaled = service.max_replicas is not None
        deadline = start_seconds(placement)
        patience = f"{deadline + pods.UP_MARGIN_SECONDS}s"
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=pods.plain(
                {
                    **({} if scaled else {"replicas": service.replicas}),
                    "selector": {"matchLabels": chosen},
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                    },
                    "progressDeadlineSeconds": deadline,
                    "template": {
                        "metadata": {
                            "labels": pods.labels(pods.SERVING, service.name),
                            "annotations": pods.scraped(scrapers, pods.METRICS_PORT, pods.METRICS_PATH),
                        },
                        "spec": pod,
                    },
                }
            ),
            opts=ResourceOptions(
                parent=self,
                depends_on=[self.policy, self.service, *identity.effective],
                custom_timeouts=CustomTimeouts(create=patience, update=patience),
            ),
        )
        if service.replicas:
            self.disruption_budget = k8s.policy.v1.PodDisruptionBudget(
                f"{name}-disruption-budget",
                metadata=metadata,
                spec=pods.disruption_budget(chosen),
                opts=child,
            )
        if scaled:
            self.autoscaler = k8s.autoscaling.v2.HorizontalPodAutoscaler(
                f"{name}-autoscaler",
                metadata=metadata,
                spec=_autoscaler(service),
                opts=ResourceOptions(parent=self, depends_on=[self.deployment]),
            )
        host = f"{title}.{pods.NAMESPACE}.svc.cluster.local"
        address = json.dumps([[host, pods.SERVING_PORT]] if service.replicas else [])
        # Known before `up`, so that a preview shows no change of what is not changed, and still after the replicas.
        self.address: Output[str] = self.deployment.urn.apply(lambda _: address)
        self.register_outputs({"address": address})


def start_seconds(placement: Placement) -> int:
    """How long a replica may take to become ready: a node on the last rung, and the load of the version."""
    return len(placement.rungs) * NODE_SECONDS + START_PERIOD_SECONDS * START_TRIES


def _pod(
    service: ServiceSettings,
    version: ModelVersion,
    region: str,
    image: str,
    placement: Placement,
    identity: K8sIdentity,
    model_uri: Output[str],
    drain_seconds: int,
    chosen: Mapping[str, str],
) -> pods.Json:
    command = [
        *("python", "-m", "workloads.serving.server"),
        *("--model-uri", model_uri),
        *("--digest", version.digest),
        *("--model-name", service.name),
        *("--host", "0.0.0.0"),
        *_who_may_ask(service),
        *("--port", str(pods.SERVING_PORT)),
        *("--metrics-port", str(pods.METRICS_PORT)),
        *("--threads", str(THREADS)),
        *limit_flags(service.limits),
        *("--compile-cache", COMPILED),
        *("--drain-seconds", str(drain_seconds)),
    ]
    keys = service.api_keys
    main = pods.container(
        pods.SERVING,
        image,
        command,
        pods.whole_node(placement, cpu="1", memory="4Gi"),
        environment={"SKERRY_REGION": region, "OMP_NUM_THREADS": str(THREADS)},
        ports=[
            {"name": "http", "containerPort": pods.SERVING_PORT},
            {"name": "metrics", "containerPort": pods.METRICS_PORT},
        ],
        volumeMounts=[{"name": KEYS_ENTRY, "mountPath": KEYS_FOLDER, "readOnly": True}] if keys else [],
        startupProbe=_probe(LIVE_PATH, START_PERIOD_SECONDS, START_TRIES),
        readinessProbe=_probe(READY_PATH, 2, 2),
        livenessProbe=_probe(LIVE_PATH, 10, 6),
        lifecycle={"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}},
    )
    return pods.pod(
        main,
        identity.name,
        pods.REQUESTS,
        PodDisk(version.disk_gib, alone=True),
        terminationGracePeriodSeconds=LEAVING_SECONDS + drain_seconds + TERMINATION_MARGIN_SECONDS,
        topologySpreadConstraints=pods.spread([*placement.topology_keys, pods.HOSTNAME], chosen),
        volumes=[_keys_volume(keys)] if keys else [],
        **pods.placed(placement),
    )


def _keys_volume(secret: str) -> pods.Json:
    """The Secret of API keys. It is optional, so that a missing one ends the server at once with an error that says
    what to make; otherwise the pod would wait for it without a word until the deadline of the Deployment."""
    return {"name": KEYS_ENTRY, "secret": {"secretName": secret, "defaultMode": 0o440, "optional": True}}


def _who_may_ask(service: ServiceSettings) -> tuple[str, ...]:
    if service.api_keys is not None:
        return ("--api-keys-file", f"{KEYS_FOLDER}/{KEYS_ENTRY}")
    return ("--no-auth",)  # the gateway and the network policies stand in front


def _probe(path: str, period: int, tries: int) -> pods.Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "failureThreshold": tries,
        "timeoutSeconds": 2,
    }


def _autoscaler(service: ServiceSettings) -> pods.Json:
    target = {"type": "Utilization", "averageUtilization": TARGET_CPU_PERCENT}
    return {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": pods.service_name(service.name),
        },
        "minReplicas": service.replicas,
        "maxReplicas": service.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        # Replicas are slow to start, so they are given up slowly.
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
    }
