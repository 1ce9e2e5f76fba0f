"""What of a stack file can be read on its own, so that rules over several parts run if another is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from components.settings.base import Frozen
from components.settings.items import (
    EndpointSettings,
    Layer,
    ModelSettings,
    PoolSettings,
    RegionSettings,
    ServiceSettings,
    TrainingSettings,
)

Item = TypeVar("Item", bound=Frozen)
Indexed = tuple[tuple[int, Item], ...]


@dataclass(frozen=True)
class Parts:
    """Valid entries of each list with their index, and the names of all entries, valid or not."""

    raw: Mapping[str, Any]
    regions: Indexed[RegionSettings]
    pools: Indexed[PoolSettings]
    training: Indexed[TrainingSettings]
    models: Indexed[ModelSettings]
    services: Indexed[ServiceSettings]

    def names(self, key: str) -> list[str]:
        """Names in a list, also of entries that are wrong elsewhere: a reference to them is no mistake."""
        return [name for _, name in self.places(key)]

    def places(self, key: str) -> list[tuple[int, str]]:
        """The same names, each with the index of its entry."""
        return [
            (index, name)
            for index, entry in enumerate(_entries(self.raw, key))
            if isinstance(entry, Mapping) and isinstance(name := cast(Any, entry).get("name"), str)
        ]

    def all_named(self, key: str) -> bool:
        """Whether these are all names: one that is missing has a mistake of its own, and none follows."""
        entries = self.raw.get(key, [])
        return isinstance(entries, list) and len(self.names(key)) == len(cast(list[Any], entries))

    def endpoint(self) -> EndpointSettings | None:
        """How endpoints behave; None where it is wrong."""
        try:
            return TypeAdapter(EndpointSettings).validate_json(json.dumps(self.raw.get("endpoint", {})))
        except ValidationError:
            return None

    def layers(self) -> frozenset[str] | None:
        """The stack's layers; None where they are wrong."""
        known = [layer.value for layer in Layer]
        given = self.raw.get("layers", known)
        if (
            not isinstance(given, list)
            or not given
            or any(layer not in known for layer in cast(list[Any], given))
        ):
            return None
        return frozenset(cast(list[str], given))


def parts_of(raw: Mapping[str, Any]) -> Parts:
    """Reads each entry on its own."""
    return Parts(
        raw,
        _valid(raw, "regions", RegionSettings),
        _valid(raw, "pools", PoolSettings),
        _valid(raw, "training", TrainingSettings),
        _valid(raw, "models", ModelSettings),
        _valid(raw, "services", ServiceSettings),
    )


def _entries(raw: Mapping[str, Any], key: str) -> list[Any]:
    entries = raw.get(key)
    return cast(list[Any], entries) if isinstance(entries, list) else []


def _valid(raw: Mapping[str, Any], key: str, kind: type[Item]) -> Indexed[Item]:
    adapter = TypeAdapter(kind)
    found: list[tuple[int, Item]] = []
    for index, entry in enumerate(_entries(raw, key)):
        try:
            found.append((index, adapter.validate_json(json.dumps(entry))))
        except ValidationError:
            continue
    return tuple(found)
