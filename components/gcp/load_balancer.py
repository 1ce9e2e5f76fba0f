"""The way in: endpoint groups of a region's gateway, and the global external Application Load Balancer over regions.

Each region has a VPC of its own: a global load balancer reaches backends in several of one project without a peering
(Google's release notes of Cloud Load Balancing, 2025).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
from pulumi import Input, Output, Resource, ResourceOptions
from pulumi_gcp.compute import BackendServiceBackendArgsDict

from components.contracts import HEALTH_PATH, Backend, Front, RegionTraffic
from components.envoy.config import LATER_SECONDS
from components.envoy.limits import ARRIVAL_SECONDS
from components.gcp.dials import capacity_scaler
from components.settings.items import EndpointSettings

CALLERS = ("130.211.0.0/22", "35.191.0.0/16")
"""Where requests and health checks of Google's front ends come from. Source: Google's page "Firewall rules" of Cloud
Load Balancing, row of the global external Application Load Balancer with zonal endpoint groups, read 2026-11-24."""
FRONT = Front(hops=2, silence_seconds=None)
"""It appends the client's address and its own to `X-Forwarded-For` (Google, "External Application Load Balancer
overview", section "X-Forwarded-For header", read 2026-12-01)."""
SERVICE, SERVICE_PORT = "gateway", 80
NEG, NEG_STATUS = "cloud.google.com/neg", "cloud.google.com/neg-status"
STATUS_IS_THERE = f"jsonpath={{.metadata.annotations['{NEG_STATUS}']}}"
"""In the syntax of RFC 9535, which pulumi-kubernetes parses: a name with dots stands in brackets."""
LONGEST_NAME = 63
"""Of an endpoint group."""
COMPUTE = "https://www.googleapis.com/compute/v1"
HEALTH_TIMEOUT_SECONDS = 5
"""Most that a probe waits; never longer than the interval."""


class GcpRegionEndpointArgs(TypedDict):
    """Args of `GcpRegionEndpoint`."""

    project: str
    """Id of the project."""
    zones: tuple[str, ...]
    """Zones with nodes, and so with an endpoint group."""
    group: str
    """Name of the endpoint groups: the same in each zone, published, and no other's in the project."""
    network: Input[str]
    """Id of the VPC."""
    account: Input[str]
    """Email of the nodes' service account: the firewall opens for nodes alone."""


class GcpRegionEndpoint(pulumi.ComponentResource):
    """A Service whose annotation makes GKE keep an endpoint group per zone. They are awaited: when `up` ends, the
    global load balancer finds them."""

    def __init__(
        self,
        name: str,
        args: GcpRegionEndpointArgs,
        backend: Backend,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:GcpRegionEndpoint", name, {}, opts)
        self.firewall = gcp.compute.Firewall(
            name,
            network=args["network"],
            direction="INGRESS",
            source_ranges=list(CALLERS),
            target_service_accounts=[args["account"]],
            allows=[{"protocol": "tcp", "ports": [str(backend.port)]}],
            opts=ResourceOptions(parent=self),
        )
        self.service = kubernetes.core.v1.Service(
            name,
            metadata={
                "name": SERVICE,
                "namespace": backend.namespace,
                "annotations": {
                    NEG: json.dumps({"exposed_ports": {str(SERVICE_PORT): {"name": args["group"]}}}),
                    "pulumi.com/waitFor": STATUS_IS_THERE,
                },
            },
            spec={
                "type": "ClusterIP",
                "selector": dict(backend.selector),
                "ports": [{"name": "http", "port": SERVICE_PORT, "target_port": backend.port}],
            },
            # Made after the gateway and its namespace, and so deleted before them: the namespace waits for the
            # finalizers of the endpoint groups, which would hold the VPC if they outlived the cluster.
            opts=ResourceOptions(parent=self, depends_on=backend.standing.apply(lambda _: list[Resource]())),
        )
        handle = json.dumps(
            {"project": args["project"], "group": args["group"], "zones": args["zones"]}, sort_keys=True
        )
        ready = Output.all(self.service.spec.cluster_ip, self.firewall.id)
        self.url = ready.apply(lambda known: f"http://{known[0]}:{SERVICE_PORT}")
        """The Service's address, which answers within the cluster; regions share no range, so no two have one URL."""
        self.handle = ready.apply(lambda _: handle)
        self.register_outputs({"url": self.url, "handle": self.handle})


def groups_of(handle: str) -> list[str]:
    """Fully-qualified URLs of a region's endpoint groups, which a backend wants."""
    told = json.loads(handle)
    return [
        f"{COMPUTE}/projects/{told['project']}/zones/{zone}/networkEndpointGroups/{told['group']}"
        for zone in told["zones"]
    ]


def backends(
    handles: Mapping[str, str], scalers: Mapping[str, float], rate: int
) -> list[BackendServiceBackendArgsDict]:
    """A backend per endpoint group, in the order of the regions.

    Args:
        handles: region -> handle of its endpoint.
        scalers: region -> capacity scaler.
        rate: requests per second that one endpoint holds.
    """
    return [
        {
            "group": group,
            "balancing_mode": "RATE",
            "max_rate_per_endpoint": rate,
            "capacity_scaler": scaler,
        }
        for region, scaler in scalers.items()
        for group in groups_of(handles[region])
    ]


class GcpGlobalLoadBalancerArgs(TypedDict):
    """Args of `GcpGlobalLoadBalancer`."""

    domain: str
    """Host name of the certificate; it has to point at `address`."""
    rate: int
    """Requests per second that one pod of a gateway is said to hold."""
    traffic: Mapping[str, RegionTraffic]
    """Region -> its endpoint, and what part of its capacity it keeps."""


class GcpGlobalLoadBalancer(pulumi.ComponentResource):
    """One anycast address; a request goes to the nearest region that is healthy and has capacity left."""

    def __init__(
        self,
        name: str,
        args: GcpGlobalLoadBalancerArgs,
        settings: EndpointSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:GcpGlobalLoadBalancer", name, {}, opts)
        traffic = args["traffic"]
        scalers = {region: capacity_scaler(found.dial, found.drained) for region, found in traffic.items()}
        handles = {region: found.endpoint.handle for region, found in traffic.items()}
        mine = ResourceOptions(parent=self)
        health = settings.health
        self.address = gcp.compute.GlobalAddress(name, opts=mine)
        self.health_check = gcp.compute.HealthCheck(
            name,
            check_interval_sec=health.interval_seconds,
            timeout_sec=min(health.interval_seconds, HEALTH_TIMEOUT_SECONDS),
            healthy_threshold=health.healthy_after,
            unhealthy_threshold=health.unhealthy_after,
            http_health_check={"port_specification": "USE_SERVING_PORT", "request_path": HEALTH_PATH},
            log_config={"enable": True},
            opts=mine,
        )
        self.backend_service = gcp.compute.BackendService(
            name,
            load_balancing_scheme="EXTERNAL_MANAGED",
            protocol="HTTP",
            backends=Output.all(**handles).apply(lambda told: backends(told, scalers, args["rate"])),
            health_checks=self.health_check.id,
            # The gateway gives up first, so that the caller gets its error; it counts from the end of the request.
            timeout_sec=settings.request_timeout_seconds + ARRIVAL_SECONDS + LATER_SECONDS,
            connection_draining_timeout_sec=settings.drain,
            log_config={"enable": True, "sample_rate": 1.0},
            opts=mine,
        )
        self.url_map = gcp.compute.URLMap(name, default_service=self.backend_service.id, opts=mine)
        self.certificate = gcp.compute.ManagedSslCertificate(
            name, managed={"domains": [args["domain"]]}, opts=mine
        )
        self.tls = gcp.compute.SSLPolicy(name, profile="RESTRICTED", min_tls_version="TLS_1_2", opts=mine)
        self.proxy = gcp.compute.TargetHttpsProxy(
            name,
            url_map=self.url_map.id,
            ssl_certificates=[self.certificate.id],
            ssl_policy=self.tls.id,
            opts=mine,
        )
        self.forwarding_rule = gcp.compute.GlobalForwardingRule(
            name,
            load_balancing_scheme="EXTERNAL_MANAGED",
            ip_address=self.address.address,
            ip_protocol="TCP",
            port_range="443",
            target=self.proxy.id,
            opts=mine,
        )
        self.url = self.forwarding_rule.id.apply(lambda _: f"https://{args['domain']}")
        self.register_outputs({"url": self.url, "address": self.address.address})
