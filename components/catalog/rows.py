"""What a row of the catalog says: an accelerator, and the machine that carries it on one target."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What an accelerator is."""

    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


RESOURCES: Mapping[Kind, str | None] = {
    Kind.CPU: None,
    Kind.GPU: "nvidia.com/gpu",
    Kind.TPU: "google.com/tpu",
}
"""Extended resource by which a pod asks Kubernetes for an accelerator of this kind."""


FLOAT8_CAPABILITY = (8, 9)
"""Compute capability from which torch multiplies 8-bit floats; the serving workload asks its GPU for the same."""


EVICTION_MIB = 100
RESERVED = ((4 * 1024, 25), (4 * 1024, 20), (8 * 1024, 10), (112 * 1024, 6), (sys.maxsize, 2))
"""MiB of memory and the percentage of them that GKE reserves on a node, band by band, and what it keeps free for
evictions (Google's page "Plan GKE Standard node sizes" by way of hatemosphere/gke-node-allocatable-memory-calculator,
read 2026-12-01). EKS reserves less: 255 MiB, 11 MiB for each pod that fits and the same 100 MiB (unresolved: from
memory, not looked up), so the larger reserve serves both."""


@dataclass(frozen=True)
class Machine:
    """What carries an accelerator on one target."""

    machine_type: str
    """What the target calls it: g6.xlarge, g2-standard-4."""
    count: int
    """Accelerators per node; 0 on a machine without any."""
    regions: tuple[str, ...] | None
    """Where the target offers it, sorted. None: wherever the target is."""
    fabric: str
    """How nodes reach each other: loopback, ethernet, efa, gpudirect-tcpx, gpudirect-tcpxo, rdma or ici."""
    source: str
    """Where the row is from."""
    as_of: str
    """ISO date of the source, or on which it was read where it has none."""
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Region -> zones that offer it, sorted. A region that is missing has no listing by zone."""
    not_sold: tuple[str, ...] = ()
    """Rungs of a ladder, by their names in stack files, on which the target does not sell it."""
    disk_type: str = ""
    """GCP only: type of a node's boot disk."""
    memory_mib: int = 0
    """Memory of the machine, in MiB; 0 on target local, whose slots share one."""
    architecture: str = "amd64"
    """Of its processors, as container images name it."""
    gpu_type: str = ""
    """GCP only: the accelerator type of a GPU, such as nvidia-l4."""
    topologies: tuple[str, ...] = ()
    """TPU only: topologies of the slices that exist of this machine type, in chips, smallest first."""
    tpu_type: str = ""
    """TPU only: what nodes carry as label cloud.google.com/gke-tpu-accelerator."""
    efa_interfaces: int = 0
    """Fabric efa only: interfaces a node has, which is its count of the resource vpc.amazonaws.com/efa."""

    @property
    def pod_memory_mib(self) -> int:
        """Memory that pods may use, in MiB: what is left when the node's own processes have their part."""
        left, reserved = self.memory_mib, EVICTION_MIB
        for width, percent in RESERVED:
            band = min(left, width)
            reserved, left = reserved + band * percent // 100, left - band
        return self.memory_mib - reserved


@dataclass(frozen=True)
class Accelerator:
    """An accelerator by the name that stack files use."""

    name: str
    kind: Kind
    memory_mib: int
    """Of one accelerator, in MiB; 0 where there is none."""
    capability: tuple[int, int] | None
    """Compute capability of an NVIDIA GPU, major and minor; None for what is none."""
    machines: Mapping[str, Machine]
    """Target -> machine. A target that is missing does not have it."""
    source: str
    """Where the memory is from. A machine names its own source."""
    as_of: str
    """ISO date of the source, or on which it was read where it has none."""

    @property
    def resource(self) -> str | None:
        """Extended resource of Kubernetes, None for a CPU."""
        return RESOURCES[self.kind]

    @property
    def multiplies_float8(self) -> bool:
        """Whether torch multiplies 8-bit floats on it."""
        return self.capability is not None and self.capability >= FLOAT8_CAPABILITY


def regions_offering(name: str, offered: Mapping[str, str]) -> tuple[str, ...]:
    """Regions of a table region -> names, apart by spaces, that have a name; sorted."""
    return tuple(sorted(region for region, names in offered.items() if name in names.split()))


def zones_listed(name: str, listed: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Region -> zones of a name, from a table name -> REGION:LETTERS, apart by spaces."""
    rows = (row.partition(":") for row in listed.get(name, "").split())
    return {region: tuple(f"{region}-{letter}" for letter in letters) for region, _, letters in rows}
