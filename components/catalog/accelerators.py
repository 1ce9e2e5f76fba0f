"""Accelerators by name, and what can be asked about them. A target's machines stand in a file of their own.

Memory is what one accelerator reports: an L4 is sold with 24 GB and reports 22888 MiB. Google publishes its GPUs in
round GB only, so a model that both clouds have carries what EC2 says of it.

Compute capabilities are those of NVIDIA's table, https://developer.nvidia.com/cuda-gpus, read on 2026-11-25. It has the
A10 and not the A10G, which EC2 alone has: taken as the A10's, whose chip it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.catalog import aws, gcp, local
from components.catalog.rows import Accelerator, Kind, Machine

MACHINES: Mapping[str, Mapping[str, Machine]] = {
    "local": local.MACHINES,
    "aws": aws.MACHINES,
    "gcp": gcp.MACHINES,
}
"""Target -> its machines by the name of the accelerator."""

REGIONS: Mapping[str, tuple[str, ...]] = {"aws": aws.REGIONS, "gcp": gcp.REGIONS}

_NONE = ("a node of CPUs has no memory of an accelerator", "2026-11-24")
_EC2 = (aws.SOURCE, aws.AS_OF)
_A3_MEGA = ("the GPU type's name tells 80 GB, which H100s report to EC2 as this", aws.AS_OF)
_V5E = ("Google's page on TPU v5e gives a chip 16 GB, taken as GiB", "2026-11-24")

ACCELERATORS = tuple(
    Accelerator(
        name=name,
        kind=kind,
        memory_mib=memory_mib,
        capability=capability,
        machines={target: machines[name] for target, machines in MACHINES.items() if name in machines},
        source=source,
        as_of=as_of,
    )
    for name, kind, memory_mib, capability, (source, as_of) in (
        ("cpu", Kind.CPU, 0, None, _NONE),
        ("t4", Kind.GPU, 16384, (7, 5), _EC2),
        ("a10g", Kind.GPU, 22888, (8, 6), _EC2),
        ("l4", Kind.GPU, 22888, (8, 9), _EC2),
        ("l40s", Kind.GPU, 45776, (8, 9), _EC2),
        ("a100-40gb", Kind.GPU, 40960, (8, 0), _EC2),
        ("a100-80gb", Kind.GPU, 81920, (8, 0), _EC2),
        ("h100-80gb", Kind.GPU, 81920, (9, 0), _EC2),
        ("h100-mega-80gb", Kind.GPU, 81920, (9, 0), _A3_MEGA),
        ("h200-141gb", Kind.GPU, 144384, (9, 0), _EC2),
        ("b200", Kind.GPU, 183359, (10, 0), _EC2),
        ("tpu-v5e", Kind.TPU, 16384, None, _V5E),
    )
)

_BY_NAME = {row.name: row for row in ACCELERATORS}


def accelerator(name: str) -> Accelerator:
    """The row of a name that settings have let through.

    Raises:
        KeyError: there is no such row.
    """
    return _BY_NAME[name]


def machine(target: str, accelerator: str) -> Machine:
    """What carries an accelerator on a target, both let through by settings.

    Raises:
        KeyError: the target does not have it.
    """
    return _BY_NAME[accelerator].machines[target]


def accelerators_on(target: str) -> tuple[str, ...]:
    """Names of the accelerators that a target has, sorted."""
    return tuple(sorted(row.name for row in ACCELERATORS if target in row.machines))


def accelerators_in(target: str, region: str) -> tuple[str, ...]:
    """Names of the accelerators that a region of a target has, sorted."""
    return tuple(name for name in accelerators_on(target) if _is_in(region, machine(target, name)))


def regions_of(target: str) -> tuple[str, ...]:
    """Every region the catalog knows of a target, sorted; none where a target's regions are the user's own names."""
    return REGIONS.get(target, ())


def regions_with(target: str, accelerator: str) -> tuple[str, ...]:
    """Regions of a target that have an accelerator, sorted. It is one that the target has."""
    regions = machine(target, accelerator).regions
    return regions_of(target) if regions is None else regions


def _is_in(region: str, machine: Machine) -> bool:
    return machine.regions is None or region in machine.regions
