"""Whether the disks of nodes have room for the models."""

from __future__ import annotations

from collections.abc import Iterable

from components.catalog.accelerators import ACCELERATORS
from components.catalog.disks import LOGS_GIB, POOL_DISKS, SYSTEM_DISKS
from components.catalog.rows import Kind
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

CPUS = frozenset(row.name for row in ACCELERATORS if row.kind is Kind.CPU)
"""Accelerators that are none."""
SYSTEM_PODS_GIB = 8
"""What gateways, stores and agents may take of a system node's disk."""


def models_fit_on_disks(parts: Parts, target: str) -> Iterable[Mistake]:
    """What a model takes must fit on every node that publishes, copies or serves it."""
    on_pool = POOL_DISKS[target].pods_gib - LOGS_GIB
    on_system = SYSTEM_DISKS[target].pods_gib - SYSTEM_PODS_GIB - LOGS_GIB
    crowded = _regions_without_a_pool_to_publish_on(parts)
    for index, model in parts.models:
        path = f"models[{index}].disk_gib"
        if model.disk_gib > on_pool:
            yield Mistake(
                path,
                model.disk_gib,
                f"a node of a pool on target {target} has room for {on_pool} GiB beside images and logs",
                f"Choose at most {on_pool}, and a smaller model if that is too little",
            )
        elif model.disk_gib > on_system and crowded and (model.pool is None or len(parts.regions) > 1):
            yield Mistake(
                path,
                model.disk_gib,
                f"in {', '.join(crowded)} no pool of accelerator cpu is free of training, so it is published or copied "
                f"on a system node, which has room for {on_system} GiB",
                f"Choose at most {on_system}, or add a pool of accelerator cpu",
            )


def _regions_without_a_pool_to_publish_on(parts: Parts) -> list[str]:
    """As `K8sRegion` chooses one: a pool of CPUs on which no run of the region trains."""
    pools = {pool.name for _, pool in parts.pools if pool.accelerator in CPUS}
    return [
        region
        for region in parts.names("regions")
        if not pools - {run.pool for _, run in parts.training if run.region == region}
    ]
