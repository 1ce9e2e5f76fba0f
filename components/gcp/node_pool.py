"""Node pools with accelerators: a pool of GKE for each rung of a ladder, and a ComputeClass that orders them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes
from pulumi import Input, ResourceOptions
from pulumi_gcp.container import NodePoolMaintenancePolicyArgsDict, NodePoolNodeConfigArgsDict

from components.catalog.accelerators import accelerator, machine
from components.catalog.disks import POOL_DISKS
from components.catalog.rows import Kind
from components.contracts import Placement, Rung, Toleration
from components.gcp.nodes import KUBELET, LONGEST_POOL_NAME, POOL_DISK_GIB, Disk, NodeSetup, node_config
from components.gcp.slices import hosts_of
from components.naming import physical_name
from components.settings.items import Capacity, PoolSettings

CLASS_LABEL = "cloud.google.com/compute-class"
RUNG_LABEL = "skerry.dev/rung"
TPU_LABELS = ("cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology")
ZONE_LABEL = "topology.kubernetes.io/zone"
TAINTS_OF = {Kind.CPU: (), Kind.GPU: ("nvidia.com/gpu",), Kind.TPU: ("google.com/tpu",)}
"""Taints, with the value `present`, that GKE itself puts on nodes with an accelerator of this kind."""
SPOT_NOTICE_SECONDS = 30
"""From the notice to the end of the machine. Source: `Scheduling.skipGuestOsShutdown` in the discovery document of
compute v1, and Google's page "Spot VMs" of GKE, which gives pods up to these 30 seconds, read 2026-11-24. That they
are best effort is unresolved: from memory, not looked up."""
SYSTEM_SECONDS = 5
"""What of it the node's own pods get at the end, instead of GKE's 15: the rest is the workload's. Source of the 15: the
same page."""
NO_UPGRADE: NodePoolMaintenancePolicyArgsDict = {"exclusion_until_end_of_supports": [{"enabled": True}]}
"""Google upgrades the nodes of a pool only when their version is no longer supported. Source:
`NodePool.maintenance_policies` in pulumi-gcp 10.2.0 and `ExclusionUntilEndOfSupport` in the discovery document of
container v1, read 2026-12-01."""
NO_CONSOLIDATION = {"consolidationThreshold": 0, "gpuConsolidationThreshold": 0}
"""No node counts as underused while a pod is on it: the autoscaler removes empty nodes only. Source: Google's reference
of the custom resource ComputeClass, whose example has both values, read 2026-12-01."""
NOTICES = {
    Capacity.RESERVED: None,
    Capacity.ON_DEMAND: None,
    Capacity.SPOT: SPOT_NOTICE_SECONDS - SYSTEM_SECONDS,
}
"""Seconds that the workload's pods have by rung."""


def capacity(rung: Capacity, reservation: str | None) -> NodePoolNodeConfigArgsDict:
    """What buys the nodes of a rung. On demand takes nothing from a reservation: that is the rung above it."""
    if rung is Capacity.SPOT:
        return {
            "spot": True,
            "kubelet_config": {
                **KUBELET,
                "shutdown_grace_period_seconds": SPOT_NOTICE_SECONDS,
                "shutdown_grace_period_critical_pods_seconds": SYSTEM_SECONDS,
            },
        }
    if rung is Capacity.RESERVED:
        return {
            "reservation_affinity": {
                "consume_reservation_type": "SPECIFIC_RESERVATION",
                "key": "compute.googleapis.com/reservation-name",
                "values": [reservation or ""],
            }
        }
    return {"reservation_affinity": {"consume_reservation_type": "NO_RESERVATION"}}


class GcpGpuNodePoolArgs(TypedDict):
    """Args of `GcpGpuNodePool`."""

    cluster: Input[str]
    """Id of the cluster."""
    zones: tuple[str, ...]
    """Those that offer the accelerator; a slice of TPUs over several nodes lies in the first."""
    trains: bool
    """Whether runs train on the pool. A node that is taken from a run costs it the steps since its last checkpoint."""
    nodes: NodeSetup
    """What every node gets."""


class GcpGpuNodePool(pulumi.ComponentResource):
    """Nodes with GPUs, TPUs or neither, from zero to the pool's most, on each rung.

    The autoscaler climbs the ladder by the ComputeClass: it takes a rung when the ones before it have no capacity. Pods
    that run are not moved back up: that would interrupt them.
    """

    def __init__(
        self,
        name: str,
        args: GcpGpuNodePoolArgs,
        pool: PoolSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:GcpGpuNodePool", name, {}, opts)
        self.pool = pool
        self.kind = accelerator(pool.accelerator).kind
        self.machine = machine("gcp", pool.accelerator)
        self.compute_class = f"skerry-{pool.name}"
        """Its name: a class may not begin with gke or autopilot, and some names are GKE's own."""
        self.rungs = pool.rungs_in(args["zones"])
        self.node_pools = {rung: self._node_pool(name, rung, args) for rung in self.rungs}
        self.ladder = kubernetes.apiextensions.CustomResource(
            name,
            api_version="cloud.google.com/v1",
            kind="ComputeClass",
            metadata={"name": self.compute_class},
            spec={
                "priorities": [{"nodepools": [self.node_pools[rung].name]} for rung in self.rungs],
                "nodePoolAutoCreation": {"enabled": False},
                "activeMigration": {"optimizeRulePriority": False},
                "whenUnsatisfiable": "DoNotScaleUp",
                **({"autoscalingPolicy": NO_CONSOLIDATION} if args["trains"] else {}),
            },
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs(
            {"nodePools": {rung.value: made.name for rung, made in self.node_pools.items()}}
        )

    @property
    def placement(self) -> Placement:
        """How pods land on the pool. The class brings them there; GKE adds what it wants of them by itself, and it is
        written out all the same: a pod says where it may run."""
        taints = [(CLASS_LABEL, self.compute_class), *((key, "present") for key in TAINTS_OF[self.kind])]
        resource = accelerator(self.pool.accelerator).resource
        return Placement(
            node_selector={CLASS_LABEL: self.compute_class, **self._tpu_labels()},
            tolerations=tuple(Toleration(key, value) for key, value in taints),
            resources={resource: self.machine.count} if resource else {},
            accelerators=self.machine.count,
            architecture=self.machine.architecture,
            memory_mib=self.machine.pod_memory_mib,
            disk_gib=POOL_DISKS["gcp"].pods_gib,
            max_nodes=self.pool.max_nodes,
            rungs=tuple(Rung(rung, self._labels(rung), NOTICES[rung]) for rung in self.rungs),
            topology_keys=(ZONE_LABEL,),
        )

    def _labels(self, rung: Capacity) -> Mapping[str, str]:
        return {CLASS_LABEL: self.compute_class, RUNG_LABEL: rung.value}

    def _tpu_labels(self) -> Mapping[str, str]:
        """GKE puts them on nodes, and pods with TPUs have to select by both."""
        if self.kind is not Kind.TPU:
            return {}
        return dict(zip(TPU_LABELS, (self.machine.tpu_type, self.pool.topology or ""), strict=True))

    def _node_pool(self, name: str, rung: Capacity, args: GcpGpuNodePoolArgs) -> gcp.container.NodePool:
        topology = self.pool.topology
        slice_of_hosts = topology is not None and hosts_of(topology, self.machine.count) > 1
        # A reservation lies in one zone, and a node that is asked for in another does not get it.
        zone = self.pool.reservation_zone if rung is Capacity.RESERVED else None
        zones = (zone,) if zone else args["zones"]
        config: NodePoolNodeConfigArgsDict = {
            **node_config(
                self.machine.machine_type,
                Disk(self.machine.disk_type, POOL_DISK_GIB),
                args["nodes"],
                self._labels(rung),
            ),
            **capacity(rung, self.pool.reservation),
            "taints": [{"key": CLASS_LABEL, "value": self.compute_class, "effect": "NO_SCHEDULE"}],
        }
        if self.machine.gpu_type:
            config["guest_accelerators"] = [
                {
                    "type": self.machine.gpu_type,
                    "count": self.machine.count,
                    "gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"},
                }
            ]
        return gcp.container.NodePool(
            physical_name(name, rung.value, limit=LONGEST_POOL_NAME),
            cluster=args["cluster"],
            node_locations=list(zones[:1] if slice_of_hosts else zones),
            initial_node_count=0,
            # ANY prefers zones with an unused reservation and those where spot capacity lasts.
            autoscaling={
                "total_min_node_count": 0,
                "total_max_node_count": self.pool.max_nodes,
                "location_policy": "ANY",
            },
            placement_policy=({"type": "COMPACT", "tpu_topology": topology} if slice_of_hosts else None),
            management={"auto_repair": True, "auto_upgrade": True},
            maintenance_policies=[NO_UPGRADE] if args["trains"] else None,
            # A node more than there are, for an upgrade, is an accelerator more than the quota has.
            upgrade_settings={"max_surge": 0, "max_unavailable": 1},
            node_config=config,
            # A resize by hand or by the autoscaler changes the number, and another number replaces the pool.
            opts=ResourceOptions(parent=self, ignore_changes=["initialNodeCount"]),
        )
