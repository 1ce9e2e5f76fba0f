"""From what pydantic found in one value to a mistake that teaches.

The kinds of error are a table: what the value must be, and what to write where the field has no example. A field's
example and the first sentence of its description make the remedy.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from components.settings.base import NAME_PATTERN, NAME_RULE
from components.settings.draft import Where
from components.settings.items import SOURCE_PATTERN, SOURCE_RULE
from components.settings.mistakes import Mistake, Unshown, path_of
from components.settings.targets import ToldApartByName

PATTERNS = {NAME_PATTERN: NAME_RULE, SOURCE_PATTERN: SOURCE_RULE}
MAPPING = ("must be a mapping of keys", "Write its keys below it, indented")
KINDS: Mapping[str, tuple[str, str]] = {
    "missing": ("is required", "Add it"),
    "invalid_key": ("has a key that is no text", "Put the key in quotes"),
    "string_type": ("must be text", "Put it in quotes if it is one, as in '4'"),
    "string_too_short": ("must have at least {min_length} characters", "Write a longer one"),
    "string_too_long": ("must have at most {max_length} characters", "Write a shorter one"),
    "string_unicode": ("must be text that UTF-8 can carry", "Write it anew"),
    "int_type": ("must be a whole number", "Write it without quotes and decimals"),
    "int_parsing_size": ("must be a number of ordinary size", "Write a smaller one"),
    "float_type": ("must be a number", "Write it without quotes"),
    "finite_number": ("must be a finite number", "Write a number"),
    "bool_type": ("must be true or false", "Write true or false"),
    "tuple_type": ("must be a list", "Begin each entry with `- `"),
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "dict_type": MAPPING,
    "greater_than_equal": ("must be at least {ge}", "Raise it"),
    "less_than_equal": ("must be at most {le}", "Lower it"),
    "less_than": ("must be less than {lt}", "Lower it"),
    "too_short": ("must have at least {min_length} entry", "Add one"),
    "enum": ("must be {expected}", "Choose one of them"),
    "union_tag_not_found": ("is required", "Add it"),
    "union_tag_invalid": ("is no target that exists here", "Choose one of: {targets}"),
}
OTHERWISE = ("cannot be used here", "See the key's description in stacks/schema.json")


@dataclass(frozen=True)
class Place:
    """Where in the file, and what the settings know of it."""

    where: Where
    field: FieldInfo | None
    model: type[BaseModel] | None
    """Settings class of a mapping here or, of a list here, of its entries."""
    targets: Mapping[str, type[BaseModel]]


def place_of(root: type[BaseModel], location: Where) -> Place:
    """Walks pydantic's location, in which a union adds the name of the member that it tried."""
    place = Place((), None, root, {})
    for part in location:
        if place.targets and place.model is None:
            place = Place(place.where, None, place.targets.get(str(part)), {})
        elif isinstance(part, int):
            place = Place((*place.where, part), None, place.model, {})
        else:
            field = place.model.model_fields.get(part) if place.model else None
            place = _below(place, part, field)
    return place


def in_words(root: type[BaseModel], error: ErrorDetails) -> Mistake | None:
    """The mistake, or None where the error only follows from others."""
    kind, value = error["type"], error["input"]
    place = place_of(root, error["loc"])
    if kind == "extra_forbidden":
        return _unknown_key(root, error["loc"], value)
    if kind == "too_short" and value:
        return None  # there are entries, each with a mistake of its own
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        value = value.get("name", Unshown.NOT_SET)
        place = Place((*place.where, "name"), place.field, None, place.targets)
    if kind == "missing":
        value = Unshown.NOT_SET
    context = {**error.get("ctx", {}), "targets": ", ".join(sorted(place.targets))}
    rule, otherwise = KINDS.get(kind, OTHERWISE)
    if kind == "string_pattern_mismatch":
        rule = PATTERNS.get(str(context["pattern"]), f"must match {context['pattern']}")
    if kind == "enum":
        context["expected"] = str(context["expected"]).replace("'", "")
    remedy = otherwise.format_map(context)
    if place.field is not None and place.where[-1:] != ("name",) or kind == "string_pattern_mismatch":
        remedy = _example(place, remedy)
    elif kind in {"missing", "union_tag_not_found"}:
        remedy = _example(place, remedy)
    return Mistake(path_of(place.where), value, rule.format_map(context), remedy)


def _below(place: Place, key: str, field: FieldInfo | None) -> Place:
    where = (*place.where, key)
    if field is None:
        return Place(where, None, None, {})
    union = next((mark for mark in field.metadata if isinstance(mark, ToldApartByName)), None)
    if union is not None:
        return Place(where, field, None, union.members)
    return Place(where, field, _model_in(field.annotation), {})


def _model_in(annotation: Any) -> type[BaseModel] | None:
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _example(place: Place, otherwise: str) -> str:
    field = place.field
    if field is None or not field.examples:
        return otherwise
    sentence = (field.description or "").split(". ")[0].rstrip(".")
    return f"Write for example `{place.where[-1]}: {_yaml(field.examples[0])}` ({sentence})"


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _unknown_key(root: type[BaseModel], location: Where, value: object) -> Mistake:
    parent = place_of(root, location[:-1])
    key = str(location[-1])
    known = sorted(parent.model.model_fields) if parent.model else []
    near = difflib.get_close_matches(key, known, n=1)
    remedy = f"Did you mean `{near[0]}`? Known here: " if near else "Remove it, or use one of: "
    # A pasted secret ends under a key that we do not know, so no text of such a key is shown.
    shown = Unshown.WITHHELD if isinstance(value, str) else value
    return Mistake(
        path_of((*parent.where, key)), shown, "there is no such setting", remedy + ", ".join(known)
    )
