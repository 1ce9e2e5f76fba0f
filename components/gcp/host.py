"""What a region on Kubernetes stands on at Google: network, keys, cluster, tiers, and the way in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypedDict

import pulumi
from pulumi import ResourceOptions

from components.contracts import Backend, Grant, Placement, RegionEndpoint, ServiceAccount, TierAccess
from components.gcp.cluster import GcpCluster
from components.gcp.identity import GcpAccess
from components.gcp.keys import GcpKeys
from components.gcp.load_balancer import CALLERS, FRONT, LONGEST_NAME, GcpRegionEndpoint
from components.gcp.network import RESOLVERS, GcpVpc
from components.gcp.node_pool import GcpGpuNodePool
from components.gcp.nodes import GcpNodeAccount, NodeSetup
from components.gcp.settings import GcpNetwork
from components.gcp.storage import GcpTieredStorage
from components.naming import physical_name
from components.settings.items import EndpointSettings, PoolSettings

LONGEST_ACCOUNT = 30
"""Of a service account's id. Source: `CreateServiceAccountRequest.accountId` in the discovery document of iam v1."""


class GcpClusterHostArgs(TypedDict):
    """Args of `GcpClusterHost`."""

    project: str
    """Id of the project."""
    project_number: int
    """Its number."""
    environment: str
    """Environment of the stack; with the region it makes published names."""
    network: GcpNetwork
    """Ranges and zones of the region."""
    trains: Collection[str]
    """Names of the pools on which runs train in this region: their nodes are neither upgraded nor consolidated."""


class GcpClusterHost(pulumi.ComponentResource):
    """One region of a project, named by it."""

    def __init__(self, name: str, args: GcpClusterHostArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpClusterHost", name, {}, opts)
        self.name = name
        self.callers: tuple[str, ...] = CALLERS
        self.front = FRONT
        self.resolvers: tuple[str, ...] = RESOLVERS
        self._args = args
        self._parts = ("skerry", args["environment"], name)
        project, network = args["project"], args["network"]
        self.network = GcpVpc(f"{name}-network", {"region": name, "network": network}, self._child())
        self.keys = GcpKeys(
            f"{name}-keys",
            {"region": name, "project": project, "project_number": args["project_number"]},
            self._child(),
        )
        self.node_account = GcpNodeAccount(
            f"{name}-nodes",
            {"project": project, "account": physical_name(*self._parts, limit=LONGEST_ACCOUNT)},
            self._child(),
        )
        self._nodes: NodeSetup = {
            "account": self.node_account.email,
            "disk_key": self.keys.usable("disks"),
        }
        self.cluster = GcpCluster(
            f"{name}-cluster",
            {
                "project": project,
                "region": name,
                "zones": network.zones,
                "network": self.network.vpc.id,
                "subnet": self.network.usable,
                "secrets_key": self.keys.usable("secrets"),
                "nodes": self._nodes,
            },
            self._child(),
        )
        self.provider: pulumi.ProviderResource = self.cluster.provider
        self.storage = GcpTieredStorage(
            f"{name}-tiers",
            {
                "project": project,
                "environment": args["environment"],
                "region": name,
                "key": self.keys.usable("buckets"),
            },
            self._child(),
        )
        self.tiers = self.storage.tiers
        self.pools: dict[str, GcpGpuNodePool] = {}
        self.register_outputs({"hot": self.tiers.hot, "warm": self.tiers.warm, "cold": self.tiers.cold})

    def pool(self, pool: PoolSettings) -> Placement:
        made = GcpGpuNodePool(
            f"{self.name}-{pool.name}",
            {
                "cluster": self.cluster.cluster.id,
                "zones": self._args["network"].zones_with(pool.accelerator),
                "trains": pool.name in self._args["trains"],
                "nodes": self._nodes,
            },
            pool,
            self._in_cluster(),
        )
        self.pools[pool.name] = made
        return made.placement

    def access(self, account: ServiceAccount, grants: Sequence[Grant]) -> TierAccess:
        return GcpAccess(
            f"{self.name}-{account.name}-access",
            {
                "pool": self.cluster.identity_pool,
                "project_number": self._args["project_number"],
                "namespace": account.namespace,
                "account": account.name,
            },
            grants,
            self._child(),
        ).access

    def attach(self, backend: Backend, endpoint: EndpointSettings) -> RegionEndpoint:
        """Time-outs, drains and health are the global load balancer's: in front of the pods there are only endpoint
        groups."""
        self.endpoint = GcpRegionEndpoint(
            f"{self.name}-endpoint",
            {
                "project": self._args["project"],
                "zones": self._args["network"].zones,
                "group": physical_name(*self._parts, limit=LONGEST_NAME),
                "network": self.network.vpc.id,
                "account": self.node_account.email,
            },
            backend,
            self._in_cluster(),
        )
        return RegionEndpoint(self.endpoint.url, self.endpoint.handle)

    def _child(self) -> ResourceOptions:
        return ResourceOptions(parent=self)

    def _in_cluster(self) -> ResourceOptions:
        """For what is made in the cluster too, beside Google's provider, which is inherited."""
        return ResourceOptions(parent=self, providers=[self.provider])
