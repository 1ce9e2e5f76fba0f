"""What a region on Kubernetes stands on at AWS: network, keys, cluster, tiers, and the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
from pulumi import ResourceOptions

from components.aws.autoscaler import AwsAutoscaler
from components.aws.cluster import LONGEST_NAME, AwsCluster, called
from components.aws.identity import AwsAccess
from components.aws.keys import AwsKeys
from components.aws.load_balancer import FRONT, AwsRegionEndpoint
from components.aws.network import AwsVpc
from components.aws.node_pool import AwsGpuNodePool
from components.aws.settings import AwsNetwork
from components.aws.storage import AwsTieredStorage
from components.aws.system import machine_in
from components.aws.versions import ClusterVersions
from components.catalog.aws import SYSTEM
from components.contracts import Backend, Grant, Placement, RegionEndpoint, ServiceAccount, TierAccess
from components.naming import physical_name
from components.settings.items import EndpointSettings, PoolSettings


class AwsClusterHostArgs(TypedDict):
    """Args of `AwsClusterHost`."""

    account: str
    """Account that everything is in."""
    stack: str
    """Name of the stack; with the region it makes published names."""
    network: AwsNetwork
    """Range, zones and certificate of the region."""
    administrators: Sequence[str]
    """ARNs of the roles that administer the cluster."""
    versions: ClusterVersions
    """What the cluster is made of."""
    autoscaler: str
    """Image of the cluster autoscaler."""
    pull_secrets: Sequence[str]
    """Names of the Secrets with which it is pulled."""
    labels: Mapping[str, str]
    """Labels of the stack."""


class AwsClusterHost(pulumi.ComponentResource):
    """One region of an account, named by it."""

    def __init__(self, name: str, args: AwsClusterHostArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsClusterHost", name, {}, opts)
        self.name, self._args = name, args
        account, stack = args["account"], args["stack"]
        mine = ResourceOptions(parent=self)
        self.keys = AwsKeys(f"{name}-keys", {"account": account, "region": name}, mine)
        self.network = AwsVpc(
            f"{name}-network",
            {
                "account": account,
                "region": name,
                "network": args["network"],
                "logs_key": self.keys.arn("logs"),
            },
            mine,
        )
        self.callers = self.network.private_cidrs
        self.front = FRONT
        self.resolvers: tuple[str, ...] = ()
        self.storage = AwsTieredStorage(
            f"{name}-tiers",
            {"stack": stack, "region": name, "account": account, "key": self.keys.keys["buckets"]},
            mine,
        )
        self.tiers = self.storage.tiers
        label = physical_name(stack, name, limit=LONGEST_NAME)
        self.cluster = AwsCluster(
            f"{name}-cluster",
            {
                "account": account,
                "region": name,
                "called": self.network.vpc.id.apply(lambda vpc: called(label, vpc)),
                "subnets": self.network.private,
                "system_zones": args["network"].zones_with(SYSTEM),
                "instance_type": machine_in(name),
                "versions": args["versions"],
                "administrators": args["administrators"],
                "operators": args["network"].operators,
                "public_access": args["network"].public_access,
                "keys": {use: self.keys.arn(use) for use in ("secrets", "volumes", "logs")},
                "labels": args["labels"],
            },
            mine,
        )
        self.provider: pulumi.ProviderResource = self.cluster.provider
        self.autoscaler = AwsAutoscaler(
            f"{name}-autoscaler",
            {
                "account": account,
                "region": name,
                "cluster": self.cluster.cluster.name,
                "cluster_arn": self.cluster.cluster.arn,
                "image": args["autoscaler"],
                "pull_secrets": args["pull_secrets"],
            },
            self._in_cluster(),
        )
        self.pools: dict[str, AwsGpuNodePool] = {}
        self.register_outputs({"hot": self.tiers.hot, "warm": self.tiers.warm, "cold": self.tiers.cold})

    def pool(self, pool: PoolSettings) -> Placement:
        made = AwsGpuNodePool(
            f"{self.name}-{pool.name}",
            {
                "nodes": self.cluster.system.setup,
                "pool": pool,
                "zones": self._args["network"].zones_with(pool.accelerator),
            },
            ResourceOptions(parent=self),
        )
        self.pools[pool.name] = made
        return made.placement

    def access(self, account: ServiceAccount, grants: Sequence[Grant]) -> TierAccess:
        made = AwsAccess(
            f"{self.name}-{account.name}-access",
            {
                "owner": self._args["account"],
                "cluster": self.cluster.cluster.name,
                "cluster_arn": self.cluster.cluster.arn,
                "namespace": account.namespace,
                "account": account.name,
            },
            grants,
            ResourceOptions(parent=self),
        )
        return made.access

    def attach(self, backend: Backend, endpoint: EndpointSettings) -> RegionEndpoint:
        """An answer's longest time is the gateway's matter: this load balancer knows pauses only."""
        self.endpoint = AwsRegionEndpoint(
            f"{self.name}-endpoint",
            {
                "vpc": self.network.vpc.id,
                "subnets": list(self.network.private.values()),
                "nodes_group": self.cluster.security_group,
                "scaling_group": self.cluster.system.scaling_group,
                "certificate": self._args["network"].certificate,
            },
            backend,
            endpoint,
            self._in_cluster(),
        )
        return RegionEndpoint(self.endpoint.url, self.endpoint.handle)

    def _in_cluster(self) -> ResourceOptions:
        """For what has a part in the cluster, beside the provider of AWS, which is inherited."""
        return ResourceOptions(parent=self, providers=[self.provider])
