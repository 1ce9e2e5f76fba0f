"""Rules over several parts of a stack file. Each is a pure function from parts to mistakes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import cast

from components.settings.base import NAME_PATTERN
from components.settings.items import Capacity, Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts
from components.settings.unique import every_entry_once

RESERVED_LABELS = ("environment", "managed-by", "stack")
IN_EVERY_REGION = ("pools", "models", "services")


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


def references_exist(parts: Parts) -> Iterable[Mistake]:
    for index, run in parts.training:
        yield from _exists(parts, "regions", f"training[{index}].region", run.region)
        yield from _exists(parts, "pools", f"training[{index}].pool", run.pool)
    for index, model in parts.models:
        if model.run is not None:
            yield from _exists(parts, "training", f"models[{index}].source", model.run)
        if model.pool is not None:
            yield from _exists(parts, "pools", f"models[{index}].pool", model.pool)
    for index, service in parts.services:
        yield from _exists(parts, "models", f"services[{index}].model", service.model)
        yield from _exists(parts, "pools", f"services[{index}].pool", service.pool)


def pools_hold_what_is_placed_on_them(parts: Parts) -> Iterable[Mistake]:
    """A region's pool carries the workers of runs in that region, the replicas of every service and the publishing of
    models, which may all be published in one region."""
    replicas = Counter[str]()
    for _, service in parts.services:
        replicas[service.pool] += service.most
    for index, pool in parts.pools:
        workers = Counter[str]()
        for _, run in parts.training:
            if run.pool == pool.name:
                workers[run.region] += run.workers
        published = sum(model.pool == pool.name for _, model in parts.models)
        asked = replicas[pool.name] + max(workers.values(), default=0) + published
        if asked > pool.max_nodes:
            yield Mistake(
                f"pools[{index}].max_nodes",
                pool.max_nodes,
                f"training workers, service replicas and publishing ask for {asked} nodes of pool {pool.name!r} in one "
                "region",
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
                    "this belongs to the layer apps, which this stack does not hold",
                    "Move it to the stack that holds apps, or add apps to layers",
                )


def regions_are_made_here_or_read(parts: Parts) -> Iterable[Mistake]:
    """A stack with the layer platform makes its regions; one with the layer global alone reads them."""
    layers = parts.layers()
    if layers is None:
        return
    made_here = Layer.PLATFORM.value in layers
    for index, region in parts.regions:
        if made_here and region.stack is not None:
            yield Mistake(
                f"regions[{index}].stack",
                region.stack,
                "this stack holds the layer platform, so it makes its regions itself",
                "Remove it, or leave platform and apps to the other stack (`layers: [global]`)",
            )
        if layers == frozenset({Layer.GLOBAL.value}) and region.stack is None:
            yield Mistake(
                f"regions[{index}].stack",
                None,
                "this stack holds the layer global alone, so it reads its regions from other stacks",
                "Name the stack that holds the region, or add platform to layers",
            )


def layers_build_on_each_other(parts: Parts) -> Iterable[Mistake]:
    layers = parts.layers()
    if layers is not None and Layer.APPS.value in layers and Layer.PLATFORM.value not in layers:
        yield Mistake(
            "layers",
            sorted(layers),
            "apps run on pools and tiers of the layer platform, which this stack does not hold",
            "Add platform, or remove apps",
        )
    if layers is not None and Layer.PLATFORM.value not in layers and parts.raw.get("pools"):
        yield Mistake(
            "pools",
            parts.names("pools"),
            "pools belong to the layer platform, which this stack does not hold",
            "Move them to the stack that holds platform, or add platform to layers",
        )


def traffic_is_set_where_it_is_balanced(parts: Parts) -> Iterable[Mistake]:
    layers = parts.layers()
    if layers is None or Layer.GLOBAL.value in layers:
        return
    for index, region in parts.regions:
        for key, given in (("dial", region.dial != 1.0), ("drained", region.drained)):
            if given:
                yield Mistake(
                    f"regions[{index}].{key}",
                    getattr(region, key),
                    "the layer global decides on traffic, and this stack does not hold it",
                    "Set it in the stack that holds global, or add global to layers",
                )


def ladders_can_be_climbed(parts: Parts) -> Iterable[Mistake]:
    for index, pool in parts.pools:
        reserved = Capacity.RESERVED in pool.ladder
        if reserved and pool.reservation is None:
            yield Mistake(
                f"pools[{index}].reservation",
                None,
                "the ladder has a rung `reserved`, which draws on a reservation",
                "Name the reservation, or take the rung away",
            )
        if pool.reservation is not None and not reserved:
            yield Mistake(
                f"pools[{index}].reservation",
                pool.reservation,
                "no rung of the ladder is `reserved`, so it would never be used",
                "Add the rung, or remove the reservation",
            )
        if reserved and pool.reservation is not None and pool.reservation_zone is None:
            yield Mistake(
                f"pools[{index}].reservation_zone",
                None,
                f"reservation {pool.reservation!r} lies in one zone, and nodes that are asked for in another zone do "
                "not get it",
                "Name the zone of the reservation, such as us-east-1a or us-central1-a",
            )
        if pool.reservation_zone is not None and pool.reservation is None:
            yield Mistake(
                f"pools[{index}].reservation_zone",
                pool.reservation_zone,
                "the pool names no reservation, so the zone would never be used",
                "Name the reservation, or remove the zone",
            )


def labels_leave_ours_alone(parts: Parts) -> Iterable[Mistake]:
    labels: object = parts.raw.get("labels")
    for key in RESERVED_LABELS:
        if isinstance(labels, Mapping) and key in labels:
            yield Mistake(
                f"labels.{key}",
                cast(Mapping[str, object], labels)[key],
                "the target sets this label itself, from the stack file and the stack's name",
                "Choose another key",
            )


def replicas_have_a_range(parts: Parts) -> Iterable[Mistake]:
    for index, service in parts.services:
        if service.max_replicas is not None and service.max_replicas <= service.replicas:
            yield Mistake(
                f"services[{index}].max_replicas",
                service.max_replicas,
                f"an autoscaler chooses between replicas ({service.replicas}) and max_replicas",
                f"Choose more than {service.replicas}, or leave it out",
            )
        if service.max_replicas is not None and service.replicas == 0:
            yield Mistake(
                f"services[{index}].replicas",
                0,
                "an autoscaler of Kubernetes keeps at least one replica",
                "Choose 1 or more, or leave max_replicas out",
            )


def no_stack_reads_itself(parts: Parts, stack: str) -> Iterable[Mistake]:
    """Refuse a region that is read from the stack that reads it. `stack`: the stack's own name."""
    for index, region in parts.regions:
        if region.stack is not None and region.stack == stack:
            yield Mistake(
                f"regions[{index}].stack",
                stack,
                "is this stack itself, which cannot read its own outputs",
                "Name the stack that holds the region, or leave `stack` out",
            )


RULES = (
    every_entry_once,
    no_two_things_are_called_the_same_with_their_region,
    references_exist,
    pools_hold_what_is_placed_on_them,
    one_region_stays_in_rotation,
    apps_stand_in_a_stack_with_the_apps_layer,
    layers_build_on_each_other,
    regions_are_made_here_or_read,
    traffic_is_set_where_it_is_balanced,
    ladders_can_be_climbed,
    replicas_have_a_range,
    labels_leave_ours_alone,
)


def _first_places(parts: Parts, key: str) -> dict[int, str]:
    """Names of a list by the index at which each stands first; a second has a mistake of its own."""
    first: dict[str, int] = {}
    for index, name in parts.places(key):
        first.setdefault(name, index)
    return {index: name for name, index in first.items()}


def _exists(parts: Parts, key: str, path: str, name: str) -> Iterable[Mistake]:
    known = parts.names(key)
    choices = sorted({other for other in known if re.fullmatch(NAME_PATTERN, other)})
    if name not in known and parts.all_named(key):
        yield Mistake(
            path,
            name,
            f"no entry of {key} is called so",
            f"Choose one of: {', '.join(choices) or '(none)'}; or add it to {key}",
        )
