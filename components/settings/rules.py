"""Rules over several parts of a stack file. Each is a pure function from a draft to mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from components.catalog.accelerators import accelerators_on
from components.naming import MOST_LABELS, check_label
from components.settings.base import MOST_ENTRIES
from components.settings.draft import Draft, Entry
from components.settings.items import Layer, run_of
from components.settings.mistakes import Mistake, path_of
from components.settings.model import OWN_LABELS

REFERENCES = (
    ("training", "region", "regions"),
    ("training", "pool", "pools"),
    ("services", "model", "models"),
    ("services", "pool", "pools"),
)
APPS = ("training", "models", "services")


def lists_have_a_sane_length(draft: Draft) -> Iterable[Mistake]:
    """Not pydantic's own limit, which would hide the mistakes within the entries."""
    for key, section in draft.sections.items():
        if section.length is not None and section.length > MOST_ENTRIES:
            rule = f"must have at most {MOST_ENTRIES} entries, and has {section.length}"
            yield Mistake(key, [None] * section.length, rule, "Split the stack")


def every_name_once(draft: Draft) -> Iterable[Mistake]:
    """Names become names of resources."""
    for key, section in draft.sections.items():
        first: dict[str, str] = {}
        for entry in section:
            name = entry.text("name")
            if name is None:
                continue
            if name in first:
                rule = f"is the name of {first[name]} already, and a name stands once in {key}"
                yield Mistake(f"{entry.path}.name", name, rule, "Rename or remove one of the two")
            first.setdefault(name, entry.path)


def layers_are_named_once(draft: Draft) -> Iterable[Mistake]:
    """A layer twice is a slip: the other one was meant."""
    names = _layers(draft)
    if names is not None and len(set(names)) < len(names):
        yield Mistake("layers", names, f"names a layer twice: {', '.join(names)}", "Name each layer once")


def references_exist(draft: Draft) -> Iterable[Mistake]:
    """What is named stands in the same file."""
    for key, field, to in REFERENCES:
        for entry in draft.sections[key]:
            yield from _exists(draft, f"{entry.path}.{field}", entry.text(field), to)
    for entry in draft.sections["models"]:
        source = entry.text("source")
        run = run_of(source) if source else None
        if run is not None:
            yield from _exists(draft, f"{entry.path}.source", run, "training")


def pools_hold_what_is_placed_on_them(draft: Draft) -> Iterable[Mistake]:
    """A region's pool carries the workers of runs in that region and the replicas of every service."""
    for pool in draft.sections["pools"]:
        name, most = pool.text("name"), pool.whole("max_nodes")
        if name is None or most is None:
            continue
        everywhere = _placed(draft, "services", "service", "replicas", name)
        runs: dict[str, list[tuple[str, int]]] = {"any region": []}
        for run in draft.sections["training"]:
            region = run.text("region")
            if region is not None:
                runs.setdefault(f"region {region}", []).extend(_one(run, "training", "workers", name))
        region, users = max(
            ((region, [*here, *everywhere]) for region, here in runs.items()),
            key=lambda found: sum(nodes for _, nodes in found[1]),
        )
        asked = sum(nodes for _, nodes in users)
        if asked > most:
            what = " + ".join(f"{user} {nodes}" for user, nodes in users)
            rule = f"pool {name} needs {asked} nodes in {region}: {what}, one node each"
            remedy = f"Raise max_nodes to {asked}, or ask for fewer workers or replicas"
            yield Mistake(f"{pool.path}.max_nodes", most, rule, remedy)


def one_region_stays_in_rotation(draft: Draft) -> Iterable[Mistake]:
    """Nothing could answer."""
    regions = draft.sections["regions"]
    drained = [region.flag("drained") for region in regions]
    if drained and all(drained) and len(drained) == regions.length:
        path = f"{regions.entries[-1].path}.drained"
        remedy = "Leave one region in rotation; `make down` takes a stack down"
        yield Mistake(path, True, "every region is drained, so nothing could answer", remedy)


def apps_stand_in_a_stack_with_the_apps_layer(draft: Draft) -> Iterable[Mistake]:
    """What would silently not be made."""
    layers = _layers(draft)
    if layers is not None and Layer.APPS.value not in layers:
        for key in APPS:
            section = draft.sections[key]
            if section.length:
                rule = "belongs to the layer apps, and this stack holds only platform"
                remedy = "Move it to the stack that holds apps, or add apps to layers"
                yield Mistake(key, [None] * section.length, rule, remedy)


def labels_suit_every_cloud(draft: Draft) -> Iterable[Mistake]:
    """Google's rule is the strictest, so it is everyone's."""
    labels = cast(Mapping[str, object], draft.top.values.get("labels", {}))
    most = MOST_LABELS - len(OWN_LABELS)
    if len(labels) > most:
        rule = f"must have at most {most} labels, and has {len(labels)}"
        yield Mistake("labels", labels, rule, "Keep those that someone reads")
    for key, value in labels.items():
        path = path_of(("labels", key))
        broken = check_label(key, value) if isinstance(value, str) else None
        if broken:
            yield Mistake(path, value, broken, "Write it in lower case, for example `team: search`")
        if key in OWN_LABELS:
            remedy = f"Remove it; the setting `{key}` says it"
            yield Mistake(path, value, "is set by Skerry on all that it makes", remedy)


def accelerators_are_in_the_catalog(draft: Draft) -> Iterable[Mistake]:
    """A target has the accelerators that the catalog says."""
    target = draft.target.text("name")
    known = accelerators_on(target) if target and draft.target.values.keys() > {"name"} else ()
    for pool in draft.sections["pools"] if known else ():
        name = pool.text("accelerator")
        if name is not None and name not in known:
            rule = f"target {target} has no such accelerator"
            yield Mistake(f"{pool.path}.accelerator", name, rule, f"Choose one of: {', '.join(known)}")


RULES = (
    lists_have_a_sane_length,
    every_name_once,
    layers_are_named_once,
    references_exist,
    pools_hold_what_is_placed_on_them,
    one_region_stays_in_rotation,
    apps_stand_in_a_stack_with_the_apps_layer,
    labels_suit_every_cloud,
    accelerators_are_in_the_catalog,
)


def _layers(draft: Draft) -> tuple[str, ...] | None:
    given = draft.top.values.get("layers")
    if not isinstance(given, list | tuple):
        return None
    layers = cast(tuple[object, ...], given)
    return tuple(layer.value if isinstance(layer, Layer) else str(layer) for layer in layers)


def _exists(draft: Draft, path: str, name: str | None, to: str) -> Iterable[Mistake]:
    known = draft.sections[to].names()
    if name is not None and known is not None and name not in known:
        choice = f"Choose one of: {', '.join(sorted(set(known)))}; or add" if known else "Add"
        yield Mistake(path, name, f"no entry of {to} has this name", f"{choice} it to {to}")


def _one(entry: Entry, user: str, count: str, pool: str) -> Iterable[tuple[str, int]]:
    nodes = entry.whole(count)
    if entry.text("pool") == pool and nodes:
        yield f"{user} {entry.text('name') or entry.path}", nodes


def _placed(draft: Draft, section: str, user: str, count: str, pool: str) -> list[tuple[str, int]]:
    return [found for entry in draft.sections[section] for found in _one(entry, user, count, pool)]
