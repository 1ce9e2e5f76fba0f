"""Rules that follow from the catalog: what a target offers, where, and what runs on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from components.catalog.accelerators import (
    Kind,
    accelerator,
    accelerators_in,
    accelerators_on,
    machine,
    regions_of,
    regions_with,
)
from components.catalog.rows import FLOAT8_CAPABILITY
from components.settings.items import TRAINING_BATCH, Capacity, PoolSettings, Scheme
from components.settings.mistakes import Mistake
from components.settings.parts import Parts


def regions_are_the_targets(parts: Parts, target: str) -> Iterable[Mistake]:
    known = regions_of(target)
    for index, name in parts.places("regions"):
        if known and name not in known:
            yield Mistake(
                f"regions[{index}].name",
                name,
                f"target {target} has no such region",
                f"Choose one of: {', '.join(known)}",
            )


def accelerators_are_offered(parts: Parts, target: str) -> Iterable[Mistake]:
    """A pool is made in every region, so each has to offer its accelerator."""
    known = regions_of(target)
    for index, pool in parts.pools:
        path = f"pools[{index}].accelerator"
        if pool.accelerator not in accelerators_on(target):
            yield Mistake(
                path,
                pool.accelerator,
                f"target {target} has no such accelerator",
                f"Choose one of: {', '.join(accelerators_on(target))}",
            )
            continue
        lacking = [
            region
            for region in parts.names("regions")
            if region in known and pool.accelerator not in accelerators_in(target, region)
        ]
        if lacking:
            offered = [
                name
                for name in accelerators_on(target)
                if all(name in accelerators_in(target, region) for region in lacking)
            ]
            others = f", or one of: {', '.join(offered)}" if offered else ""
            yield Mistake(
                path,
                pool.accelerator,
                f"target {target} does not offer it in {', '.join(lacking)}; "
                f"regions that do: {', '.join(regions_with(target, pool.accelerator))}",
                f"Choose such a region{others}",
            )


def rungs_are_sold(parts: Parts, target: str) -> Iterable[Mistake]:
    for index, pool in _known(parts, target):
        carrier = machine(target, pool.accelerator)
        if any(rung.value in carrier.not_sold for rung in pool.ladder):
            others = [rung.value for rung in Capacity if rung.value not in carrier.not_sold]
            yield Mistake(
                f"pools[{index}].ladder",
                [rung.value for rung in pool.ladder],
                f"target {target} does not sell {carrier.machine_type} {' or '.join(carrier.not_sold)}",
                f"Choose rungs from: {', '.join(others)}",
            )


def topologies_exist(parts: Parts, target: str) -> Iterable[Mistake]:
    for index, pool in _known(parts, target):
        slices = machine(target, pool.accelerator).topologies
        path = f"pools[{index}].topology"
        if slices and pool.topology not in slices:
            yield Mistake(
                path,
                pool.topology,
                f"{pool.accelerator} comes in slices of certain topologies",
                f"Choose one of: {', '.join(slices)}",
            )
        elif pool.topology is not None and not slices:
            yield Mistake(path, pool.topology, f"{pool.accelerator} comes in no slices", "Remove it")


def bundled_workloads_run_on_the_pool(parts: Parts, target: str) -> Iterable[Mistake]:
    tpus = {pool.name for _, pool in _known(parts, target) if accelerator(pool.accelerator).kind is Kind.TPU}
    users = [
        *((f"training[{index}].pool", run.pool) for index, run in parts.training),
        *((f"models[{index}].pool", model.pool) for index, model in parts.models if model.pool is not None),
        *((f"services[{index}].pool", service.pool) for index, service in parts.services),
    ]
    for path, pool in users:
        if pool in tpus:
            yield Mistake(
                path,
                pool,
                "the bundled workloads have no build for TPUs; the pool is there for your own",
                "Name a pool with GPUs or CPUs",
            )


def workers_share_a_batch_equally(parts: Parts, target: str) -> Iterable[Mistake]:
    """A worker takes a node, and runs a process on each of its accelerators."""
    each = {pool.name: max(1, machine(target, pool.accelerator).count) for _, pool in _known(parts, target)}
    for index, run in parts.training:
        processes = each.get(run.pool, 1)
        fitting = [
            str(number)
            for number in range(1, TRAINING_BATCH + 1)
            if TRAINING_BATCH % (number * processes) == 0
        ]
        if str(run.workers) not in fitting:
            on_each = f" and {processes} processes on each node" if processes > 1 else ""
            choice = " or ".join([", ".join(fitting[:-1]), fitting[-1]] if fitting[1:] else fitting)
            yield Mistake(
                f"training[{index}].workers",
                run.workers,
                f"each process takes an equal share of the {TRAINING_BATCH} sequences of a step{on_each}",
                f"Choose {choice}" if fitting else "Choose a pool with fewer accelerators per node",
            )


def float8_is_multiplied_on_its_pools(parts: Parts, target: str) -> Iterable[Mistake]:
    """A model in fp8 is published, since that measures it, and served where 8-bit floats are multiplied."""
    needs = f"fp8 needs GPUs of compute capability {'.'.join(map(str, FLOAT8_CAPABILITY))} or newer"
    fitting = [name for name in accelerators_on(target) if accelerator(name).multiplies_float8]
    remedy = f"Name a pool with one of: {', '.join(fitting)}; or choose another scheme"
    pools = {pool.name: pool.accelerator for _, pool in _known(parts, target)}
    models = {model.name for _, model in parts.models if model.scheme is Scheme.FP8}
    users = [
        *((f"models[{index}]", model.pool) for index, model in parts.models if model.scheme is Scheme.FP8),
        *(
            (f"services[{index}]", service.pool)
            for index, service in parts.services
            if service.model in models
        ),
    ]
    for path, pool in users:
        if not fitting and path.startswith("models"):
            yield Mistake(
                f"{path}.scheme",
                Scheme.FP8.value,
                f"{needs}, and target {target} has none",
                "Choose another, such as int8-weight-only",
            )
        elif fitting and pool is None:
            yield Mistake(f"{path}.pool", None, f"{needs}, also to be published", remedy)
        elif fitting and pool in pools and pools[pool] not in fitting:
            yield Mistake(f"{path}.pool", pool, f"{needs}, and the pool has {pools[pool]}", remedy)


CATALOG_RULES = (
    regions_are_the_targets,
    accelerators_are_offered,
    rungs_are_sold,
    topologies_exist,
    bundled_workloads_run_on_the_pool,
    float8_is_multiplied_on_its_pools,
    workers_share_a_batch_equally,
)


def _known(parts: Parts, target: str) -> Iterator[tuple[int, PoolSettings]]:
    """Pools whose accelerator the target has: another one has a mistake of its own."""
    for index, pool in parts.pools:
        if pool.accelerator in accelerators_on(target):
            yield index, pool
