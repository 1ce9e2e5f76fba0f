"""Every list of the settings names an entry once. One rule for all lists, so that no new one is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from components.settings.mistakes import Mistake
from components.settings.parts import Parts

TOLD_APART_BY = ("name", "stack", "destination")
"""Keys of an entry whose value no other entry of the same list has."""


def every_entry_once(parts: Parts) -> Iterable[Mistake]:
    """Refuse a value that a list holds twice, and two entries of a list with one name or one stack."""
    for path, entries in _lists(parts.raw, ""):
        if not any(isinstance(entry, Mapping) for entry in entries):
            yield from _repeated(path, "value", {f"{path}[{i}]": entry for i, entry in enumerate(entries)})
        for key in TOLD_APART_BY:
            values = {
                f"{path}[{index}].{key}": cast(Any, entry)[key]
                for index, entry in enumerate(entries)
                if isinstance(entry, Mapping) and isinstance(cast(Any, entry).get(key), str)
            }
            yield from _repeated(path, key, values)


def _repeated(path: str, word: str, values: Mapping[str, Any]) -> Iterable[Mistake]:
    """The last place of each value that stands at more than one.

    Args:
        path: the list.
        word: what the values are.
        values: key path -> value.
    """
    places: dict[str, list[str]] = {}
    for place, value in values.items():
        places.setdefault(json.dumps(value, sort_keys=True), []).append(place)
    for found in places.values():
        if len(found) > 1:
            rule = f"stands {len(found)} times in {path}, and a {word} is given once"
            remedy = "Rename or remove one" if word == "name" else "Remove or change one"
            yield Mistake(found[-1], values[found[-1]], rule, remedy)


def _lists(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    """Every list at or below a value, with its key path."""
    if isinstance(value, Mapping):
        for key, inner in cast(Mapping[str, Any], value).items():
            yield from _lists(inner, f"{path}.{key}" if path else str(key))
    if isinstance(value, list):
        entries = cast(list[Any], value)
        yield path, entries
        for index, inner in enumerate(entries):
            yield from _lists(inner, f"{path}[{index}]")
