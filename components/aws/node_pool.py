"""Node pools with accelerators: a managed node group for each rung of a ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions
from pulumi_aws.ec2 import LaunchTemplateCapacityReservationSpecificationArgsDict

from components.aws.ladder import group_name
from components.aws.nodes import IMAGES, NodeSetup, launch_template, version_of
from components.catalog.accelerators import accelerator, machine
from components.catalog.disks import POOL_DISKS
from components.catalog.rows import Kind
from components.contracts import Placement, Rung, Toleration
from components.settings.items import Capacity, PoolSettings

POOL, RUNG = "skerry.dev/pool", "skerry.dev/rung"
GPU_TAINT = ("nvidia.com/gpu", "present")
"""What DaemonSets for GPUs tolerate by custom."""
ACCELERATOR = "k8s.amazonaws.com/accelerator"
"""Label of nodes with GPUs. By it the autoscaler knows that a node without GPUs yet still starts its device plugin; on
a node without the label it buys another one meanwhile (kubernetes/autoscaler, README of its AWS provider, "Special note
on GPU instances", and issue 1949, read 2026-11-30). Of a group with no nodes it reads labels by
eks:DescribeNodegroup, so no tag of the Auto Scaling group repeats them."""
ZONE = "topology.kubernetes.io/zone"
SPOT_NOTICE_SECONDS = 120
"""EC2 User Guide, "Spot Instance interruption notices", read 2026-11-24. Managed node groups drain the node meanwhile,
as well as they can (awsdocs/amazon-eks-user-guide, managed-node-groups.adoc, same day)."""
CAPACITY_TYPES = {Capacity.RESERVED: "ON_DEMAND", Capacity.SPOT: "SPOT", Capacity.ON_DEMAND: "ON_DEMAND"}
NOTICES = {Capacity.RESERVED: None, Capacity.SPOT: SPOT_NOTICE_SECONDS, Capacity.ON_DEMAND: None}


def reservation_for(
    rung: Capacity, reservation: str | None
) -> LaunchTemplateCapacityReservationSpecificationArgsDict | None:
    """What of reserved capacity a rung may take: on demand none, for that is the rung above it; spot has no say."""
    if rung is Capacity.RESERVED:
        return {"capacity_reservation_target": {"capacity_reservation_id": reservation}}
    return {"capacity_reservation_preference": "none"} if rung is Capacity.ON_DEMAND else None


class AwsGpuNodePoolArgs(TypedDict):
    """Args of `AwsGpuNodePool`."""

    nodes: NodeSetup
    """What every node group of the cluster shares."""
    pool: PoolSettings
    """The pool as the stack file declares it."""
    zones: Sequence[str]
    """Those of the subnets' zones that offer its machine type."""


class AwsGpuNodePool(pulumi.ComponentResource):
    """Nodes with GPUs, or with CPUs alone, from zero to the pool's most on each rung. Every pool has a taint of its
    own: what does not ask for it would keep its nodes from going away."""

    def __init__(self, name: str, args: AwsGpuNodePoolArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsGpuNodePool", name, {}, opts)
        pool = args["pool"]
        carrier, row = machine("aws", pool.accelerator), accelerator(pool.accelerator)
        self._image, self._machine = IMAGES[row.kind, carrier.architecture], carrier.machine_type
        self._accelerator = {ACCELERATOR: pool.accelerator} if row.kind is Kind.GPU else {}
        self._taints = [(POOL, pool.name), *([GPU_TAINT] if row.kind is Kind.GPU else [])]
        self.templates: dict[Capacity, aws.ec2.LaunchTemplate] = {}
        self.node_groups: dict[Capacity, aws.eks.NodeGroup] = {}
        """By rung, in the order in which they are tried."""
        rungs = pool.rungs_in(args["nodes"]["subnets"])
        for place, rung in enumerate(pool.ladder, 1):
            if rung in rungs:
                self._make(group_name(name, place, rung), rung, args)
        self.placement = Placement(
            node_selector={POOL: pool.name},
            tolerations=tuple(Toleration(key, value) for key, value in self._taints),
            resources={row.resource: carrier.count} if row.resource else {},
            accelerators=carrier.count,
            architecture=carrier.architecture,
            memory_mib=carrier.pod_memory_mib,
            disk_gib=POOL_DISKS["aws"].pods_gib,
            max_nodes=pool.max_nodes,
            rungs=tuple(Rung(rung, {POOL: pool.name, RUNG: rung.value}, NOTICES[rung]) for rung in rungs),
            topology_keys=(ZONE,),
        )
        self.register_outputs(
            {"nodeGroups": {rung.value: group.node_group_name for rung, group in self.node_groups.items()}}
        )

    def _zones(self, rung: Capacity, args: AwsGpuNodePoolArgs) -> Sequence[str]:
        """Zones of a rung's nodes. A reservation lies in one zone, and a group that also asks in others fails there."""
        zone = args["pool"].reservation_zone
        return [zone] if rung is Capacity.RESERVED and zone else args["zones"]

    def _make(self, name: str, rung: Capacity, args: AwsGpuNodePoolArgs) -> None:
        nodes, pool = args["nodes"], args["pool"]
        template = launch_template(
            name, nodes, ResourceOptions(parent=self), reservation_for(rung, pool.reservation)
        )
        self.templates[rung] = template
        self.node_groups[rung] = aws.eks.NodeGroup(
            name,
            cluster_name=nodes["cluster"],
            node_role_arn=nodes["role"],
            subnet_ids=[nodes["subnets"][zone] for zone in self._zones(rung, args)],
            ami_type=self._image,
            version=nodes["versions"].kubernetes,
            release_version=nodes["versions"].release,
            capacity_type=CAPACITY_TYPES[rung],
            instance_types=[self._machine],
            launch_template=version_of(template),
            labels={POOL: pool.name, RUNG: rung.value, **self._accelerator},
            taints=[{"key": key, "value": value, "effect": "NO_SCHEDULE"} for key, value in self._taints],
            scaling_config={"min_size": 0, "desired_size": 0, "max_size": pool.max_nodes},
            # A node more than there are, for an update, is an accelerator more than the quota has.
            update_config={"max_unavailable": 1, "update_strategy": "MINIMAL"},
            node_repair_config={"enabled": True},
            # How many there are is the autoscaler's matter.
            opts=ResourceOptions(parent=self, ignore_changes=["scalingConfig.desiredSize"]),
        )
