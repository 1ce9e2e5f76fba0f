"""Rules over several parts of a stack file. Each is a pure function from parts to mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from components.catalog.accelerators import accelerators_on
from components.settings.items import Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

LISTS = ("regions", "pools", "training", "models", "services")


def every_name_once(parts: Parts) -> Iterable[Mistake]:
    for key in LISTS:
        for name, count in Counter(parts.names(key)).items():
            if count > 1:
                places = [index for index, other in parts.places(key) if other == name]
                yield Mistake(
                    f"{key}[{places[-1]}].name",
                    name,
                    f"stands {count} times in {key}, and a name is given once",
                    "Rename or remove one",
                )


def references_exist(parts: Parts) -> Iterable[Mistake]:
    for index, run in parts.training:
        yield from _exists(parts, "regions", f"training[{index}].region", run.region)
        yield from _exists(parts, "pools", f"training[{index}].pool", run.pool)
    for index, model in parts.models:
        if model.run is not None:
            yield from _exists(parts, "training", f"models[{index}].source", model.run)
    for index, service in parts.services:
        yield from _exists(parts, "models", f"services[{index}].model", service.model)
        yield from _exists(parts, "pools", f"services[{index}].pool", service.pool)


def pools_hold_what_is_placed_on_them(parts: Parts) -> Iterable[Mistake]:
    """A region's pool carries the workers of runs in that region and the replicas of every service."""
    replicas = Counter[str]()
    for _, service in parts.services:
        replicas[service.pool] += service.replicas
    for index, pool in parts.pools:
        workers = Counter[str]()
        for _, run in parts.training:
            if run.pool == pool.name:
                workers[run.region] += run.workers
        asked = replicas[pool.name] + max(workers.values(), default=0)
        if asked > pool.max_nodes:
            yield Mistake(
                f"pools[{index}].max_nodes",
                pool.max_nodes,
                f"training workers and service replicas ask for {asked} nodes of pool {pool.name!r} in one region",
                f"Raise it to {asked}, or ask for fewer workers or replicas",
            )


def one_region_stays_in_rotation(parts: Parts) -> Iterable[Mistake]:
    all_read = len(parts.regions) == len(parts.names("regions"))
    if parts.regions and all_read and all(region.drained for _, region in parts.regions):
        yield Mistake(
            f"regions[{parts.regions[-1][0]}].drained",
            True,
            "every region is drained, so nothing could answer",
            "Leave one region in rotation; `make down` takes a stack down",
        )


def apps_stand_in_a_stack_with_the_apps_layer(parts: Parts) -> Iterable[Mistake]:
    layers = parts.layers()
    if layers is not None and Layer.APPS.value not in layers:
        for key in ("training", "models", "services"):
            if parts.raw.get(key):
                yield Mistake(
                    key,
                    parts.names(key),
                    "this stack holds only the layer platform, and this belongs to apps",
                    "Move it to the stack that holds apps, or add apps to layers",
                )


def accelerators_are_in_the_catalog(parts: Parts, target: str) -> Iterable[Mistake]:
    known = accelerators_on(target)
    for index, pool in parts.pools:
        if pool.accelerator not in known:
            yield Mistake(
                f"pools[{index}].accelerator",
                pool.accelerator,
                f"target {target} has no such accelerator",
                f"Choose one of: {', '.join(known)}",
            )


RULES = (
    every_name_once,
    references_exist,
    pools_hold_what_is_placed_on_them,
    one_region_stays_in_rotation,
    apps_stand_in_a_stack_with_the_apps_layer,
)


def _exists(parts: Parts, key: str, path: str, name: str) -> Iterable[Mistake]:
    known = parts.names(key)
    if name not in known and parts.all_named(key):
        yield Mistake(
            path,
            name,
            f"no entry of {key} is called so",
            f"Choose one of: {', '.join(sorted(set(known))) or '(none)'}; or add it to {key}",
        )
