"""Quota of Compute Engine that a region needs. Pure.

A new project has 250 to 500 GB of SSD in a region (terraform-google-modules/terraform-google-kubernetes-engine#1795,
kubeflow/pipelines#10907), and no GPUs until somebody asks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from components.catalog.accelerators import machine
from components.gcp.cluster import SYSTEM_CPUS
from components.gcp.nodes import DISCARDED_DISK, POOL_DISK_GIB, SYSTEM_DISK
from components.gcp.ranges import SYSTEM_NODES_PER_ZONE
from components.settings.items import Capacity, PoolSettings

DISKS = {
    "pd-standard": "DISKS_TOTAL_GB",
    "pd-balanced": "SSD_TOTAL_GB",
    "hyperdisk-balanced": "HDB_TOTAL_GB",
}
"""Type of a boot disk -> its metric."""
CHIPS = {
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "tpu-v5-lite-podslice": "TPU_LITE_PODSLICE_V5",
}
"""Type of an accelerator -> its metric on demand. Newer GPUs have a quota that the discovery document of compute v1
does not name."""
BEFORE = {Capacity.ON_DEMAND: "", Capacity.SPOT: "PREEMPTIBLE_"}
"""Rung -> what stands before a metric. A reservation was charged when it was made."""


class Need(NamedTuple):
    """Of one metric."""

    first: int
    """For the first `up`, before a pool has a node."""
    most: int
    """With every pool at its most nodes."""


def quota(zones: int, pools: Iterable[PoolSettings]) -> dict[str, Need]:
    """Metric -> what a region needs of it, sorted by metric.

    Args:
        zones: how many zones the region's network has.
        pools: the stack's pools.
    """
    first = Counter[str]()
    first[DISKS[DISCARDED_DISK.type]] += zones * DISCARDED_DISK.gib
    most = Counter(first)
    for found, nodes in ((first, zones), (most, zones * SYSTEM_NODES_PER_ZONE)):
        found["CPUS"] += nodes * SYSTEM_CPUS
        found[DISKS[SYSTEM_DISK.type]] += nodes * SYSTEM_DISK.gib
    for pool in pools:
        carrier = machine("gcp", pool.accelerator)
        most[DISKS[carrier.disk_type]] += pool.max_nodes * POOL_DISK_GIB
        metric = CHIPS.get(carrier.gpu_type or carrier.tpu_type)
        for rung in pool.ladder:
            if metric and rung in BEFORE:
                most[BEFORE[rung] + metric] += pool.max_nodes * carrier.count
    return {metric: Need(first[metric], most[metric]) for metric in sorted(most)}
