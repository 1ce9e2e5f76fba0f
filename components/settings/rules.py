"""Rules over several parts of a stack file. Each is a pure function from parts to mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from components.catalog.accelerators import accelerators_on
from components.settings.items import TRAINING_BATCH, Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

LISTS = ("regions", "pools", "training", "models", "services")
IN_EVERY_REGION = ("pools", "models", "services")


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


def no_two_things_are_called_the_same_with_their_region(parts: Parts) -> Iterable[Mistake]:
    """What a region holds is called REGION-NAME on the target, and a region's name may hold a '-' too."""
    for key in IN_EVERY_REGION:
        owners: dict[str, tuple[str, str]] = {}
        clashes: dict[int, Mistake] = {}
        for index, name in sorted(_first_places(parts, key).items()):
            for region in dict.fromkeys(parts.names("regions")):
                joined = f"{region}-{name}"
                other_region, other = owners.setdefault(joined, (region, name))
                if (other_region, other) != (region, name):
                    clashes[index] = Mistake(
                        f"{key}[{index}].name",
                        name,
                        f"in region {region!r} it is called {joined!r} in full, and so is {other!r} of {key} in region "
                        f"{other_region!r}",
                        f"Rename it, {other!r} or one of the regions",
                    )
        yield from clashes.values()


def workers_share_a_batch_equally(parts: Parts) -> Iterable[Mistake]:
    fitting = [str(number) for number in range(1, TRAINING_BATCH + 1) if TRAINING_BATCH % number == 0]
    for index, run in parts.training:
        if TRAINING_BATCH % run.workers:
            yield Mistake(
                f"training[{index}].workers",
                run.workers,
                f"each worker takes an equal share of the {TRAINING_BATCH} sequences of a step",
                f"Choose {', '.join(fitting[:-1])} or {fitting[-1]}",
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
    no_two_things_are_called_the_same_with_their_region,
    workers_share_a_batch_equally,
    references_exist,
    pools_hold_what_is_placed_on_them,
    one_region_stays_in_rotation,
    apps_stand_in_a_stack_with_the_apps_layer,
)


def _first_places(parts: Parts, key: str) -> dict[int, str]:
    """Names of a list by the index at which each stands first; a second has a mistake of its own."""
    first: dict[str, int] = {}
    for index, name in parts.places(key):
        first.setdefault(name, index)
    return {index: name for name, index in first.items()}


def _exists(parts: Parts, key: str, path: str, name: str) -> Iterable[Mistake]:
    known = parts.names(key)
    if name not in known and parts.all_named(key):
        yield Mistake(
            path,
            name,
            f"no entry of {key} is called so",
            f"Choose one of: {', '.join(sorted(set(known))) or '(none)'}; or add it to {key}",
        )
