"""The gateway of a region: Envoy pods that choose the service by a request's `model`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.contracts import HEALTH_PATH, Backend, Front
from components.envoy import config as envoy
from components.envoy.limits import CPUS, MEMORY_MIB
from components.envoy.telemetry import STATISTICS_PATH, STATISTICS_PORT
from components.k8s import pods
from components.settings.items import EndpointSettings

COMPONENT = "gateway"
PORT = 10000
REPLICAS = 2
FILE = "envoy.json"
FOLDER = "/etc/envoy"
CONNECTION_SECONDS = 30
"""How long a load balancer keeps a connection: it may lead to a pod that is about to stop."""
NOTICE_SECONDS = CONNECTION_SECONDS + 15
"""Between the end of a pod's new connections and the last request on those that it has: by then its callers have been
asked to connect anew. Answers then have the endpoint's drain to finish; at SIGTERM Envoy stops at once."""
NO_FRONT = Front(hops=0, silence_seconds=None)
ZONE = "topology.kubernetes.io/zone"
RESOURCES = {"requests": {"cpu": str(CPUS), "memory": "256Mi"}, "limits": {"memory": f"{MEMORY_MIB}Mi"}}


class K8sGateway(pulumi.ComponentResource):
    """Envoy with a fixed configuration: another one is another ConfigMap, and rolls the pods. `backend` is what a
    cluster host attaches to its load balancer."""

    def __init__(
        self,
        name: str,
        *,
        namespace: Input[str],
        image: str,
        pull_secrets: Sequence[str],
        scrapers: Sequence[str],
        addresses: Mapping[str, Output[str]],
        callers: Sequence[str],
        front: Front,
        settings: EndpointSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sGateway", name, {}, opts)
        child = ResourceOptions(parent=self)
        resolved: Output[Mapping[str, str]] = Output.from_input(cast(Any, dict(addresses)))
        content = resolved.apply(
            lambda found: json.dumps(configuration(found, settings, front), sort_keys=True)
        )
        self.config = k8s.core.v1.ConfigMap(
            f"{name}-config",
            metadata={
                "namespace": namespace
            },  # autonamed: a change makes a new one before the pods move over
            immutable=True,
            data={FILE: content},
            opts=child,
        )
        http = [{"protocol": "TCP", "port": PORT}]
        replicas = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": pods.SERVING}}}]
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": COMPONENT, "namespace": namespace},
            spec=pods.policy(
                pods.GATEWAY,
                ingress=[
                    {"from": [{"ipBlock": {"cidr": cidr}} for cidr in callers], "ports": http},
                    *pods.scraping(scrapers, STATISTICS_PORT),
                ],
                egress=[{"to": replicas, "ports": [{"protocol": "TCP", "port": pods.SERVING_PORT}]}],
            ),
            opts=child,
        )
        self.account = k8s.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={"name": COMPONENT, "namespace": namespace},
            automount_service_account_token=False,
            image_pull_secrets=pods.named(pull_secrets),
            opts=child,
        )
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata={"name": COMPONENT, "namespace": namespace, "labels": pods.GATEWAY},
            spec=pods.plain(
                {
                    "replicas": REPLICAS,
                    "selector": {"matchLabels": pods.GATEWAY},
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                    },
                    "template": {
                        "metadata": {
                            "labels": pods.labels(COMPONENT, "region"),
                            "annotations": pods.scraped(scrapers, STATISTICS_PORT, STATISTICS_PATH),
                        },
                        "spec": self._pod(image, settings),
                    },
                }
            ),
            opts=ResourceOptions(parent=self, depends_on=[self.policy, self.account]),
        )
        self.disruption_budget = k8s.policy.v1.PodDisruptionBudget(
            f"{name}-disruption-budget",
            metadata={"name": COMPONENT, "namespace": namespace},
            spec=pods.disruption_budget(pods.GATEWAY),
            opts=child,
        )
        self.backend = Backend(
            namespace=namespace,
            selector=pods.GATEWAY,
            port=PORT,
            standing=self.deployment.urn.apply(lambda _: COMPONENT),
        )
        self.register_outputs({"port": PORT})

    def _pod(self, image: str, settings: EndpointSettings) -> pods.Json:
        main = pods.container(
            COMPONENT,
            image,
            [
                *(
                    "envoy",
                    "--config-path",
                    f"{FOLDER}/{FILE}",
                    "--log-level",
                    "warning",
                    "--disable-hot-restart",
                ),
                *("--file-flush-interval-msec", "1000"),
                *("--concurrency", str(CPUS)),  # or it starts a worker for each CPU of the node
            ],
            RESOURCES,
            ports=[
                {"name": "http", "containerPort": PORT},
                {"name": "statistics", "containerPort": STATISTICS_PORT},
            ],
            # Ready while any service is: a region without one is passed over by the load balancer in front.
            readinessProbe={
                "httpGet": {"path": HEALTH_PATH, "port": "http"},
                "periodSeconds": 5,
                "failureThreshold": 2,
            },
            livenessProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 10, "failureThreshold": 3},
            lifecycle={"preStop": {"sleep": {"seconds": NOTICE_SECONDS + settings.drain}}},
            volumeMounts=[{"name": "config", "mountPath": FOLDER, "readOnly": True}],
        )
        return pods.pod(
            main,
            COMPONENT,
            pods.REQUESTS,
            terminationGracePeriodSeconds=NOTICE_SECONDS + settings.drain + 10,
            topologySpreadConstraints=pods.spread([ZONE, pods.HOSTNAME], pods.GATEWAY),
            volumes=[
                {"name": "config", "configMap": {"name": self.config.metadata.apply(lambda made: made.name)}}
            ],
        )


def configuration(
    addresses: Mapping[str, str], settings: EndpointSettings, front: Front = NO_FRONT
) -> envoy.Json:
    """Envoy's configuration for services by name; one that is scaled to nothing is not routed, and not listed.

    Args:
        addresses: service -> host and port of each of its names, as JSON.
        settings: time-outs and health checks.
        front: the load balancer that passes requests to it.
    """
    found = {name: [(host, port) for host, port in json.loads(text)] for name, text in addresses.items()}
    services = {name: replicas for name, replicas in found.items() if replicas}
    names = {name: name for name in services}
    listeners = envoy.region_listeners(
        ("0.0.0.0", PORT),
        names,
        settings,
        hops=front.hops,
        silence_seconds=front.silence_seconds,
        connection_seconds=CONNECTION_SECONDS,
    )
    return envoy.fixed_bootstrap("gateway", listeners, envoy.region_clusters(services, settings))
