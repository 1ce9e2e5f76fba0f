"""From a plain mapping to settings, or to every mistake in it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from components.settings import items
from components.settings.base import NAME_PATTERN, NAME_RULE
from components.settings.catalog_rules import CATALOG_RULES
from components.settings.mistakes import Mistake, SettingsError
from components.settings.model import LABEL_KEY, LABEL_VALUE, StackSettings
from components.settings.parts import parts_of
from components.settings.rules import RULES, no_stack_reads_itself
from components.settings.targets import TARGET_PATTERNS, TARGET_RULES, TargetSettings

PATTERNS = {
    NAME_PATTERN: NAME_RULE,
    LABEL_KEY: "a label's key is lower-case letters, digits, '_' and '-', at most 63, a letter first, a letter or "
    "digit last",
    items.SOURCE_PATTERN: items.SOURCE_RULE,
    items.DIGEST_PATTERN: items.DIGEST_RULE,
    items.STACK_PATTERN: items.STACK_RULE,
    items.RESERVATION_PATTERN: items.RESERVATION_RULE,
    items.RESERVATION_ZONE_PATTERN: items.RESERVATION_ZONE_RULE,
    items.TOPOLOGY_PATTERN: items.TOPOLOGY_RULE,
    items.SECRET_PATTERN: items.SECRET_RULE,
    **TARGET_PATTERNS,
    LABEL_VALUE: "a label's value is lower-case letters, digits, '_' and '-', at most 63, a letter or digit first and "
    "last",
}
UNKNOWN_KEY = "extra_forbidden"
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "model": "a mapping of keys",
    "mapping": "a mapping of keys",
    "dict": "a mapping of keys",
}


def load_stack_settings(config: Mapping[str, object], stack: str = "") -> StackSettings:
    """Settings from what stands under `skerry:stack`.

    Args:
        config: what stands there.
        stack: the stack's own name, which none of its regions may name.

    Raises:
        SettingsError: with all mistakes, of single values and of how they fit together.
    """
    raw = cast(dict[str, Any], json.loads(json.dumps(config)))
    settings, wrong = _judged(raw)
    mistakes = [_in_words(detail) for detail in wrong if detail["type"] == UNKNOWN_KEY]
    if mistakes:  # what follows from a misspelt key is no mistake: judge the rest as if it were written well
        for detail in wrong:
            if detail["type"] == UNKNOWN_KEY:
                _mend(raw, detail)
        settings, wrong = None, _judged(raw)[1]
    mistakes += [_in_words(detail) for detail in wrong]
    parts = parts_of(raw)
    mistakes += no_stack_reads_itself(parts, stack)
    mistakes += [mistake for rule in RULES for mistake in rule(parts)]
    name = _mapping(raw.get("target")).get("name")
    if isinstance(name, str) and name in TARGET_RULES:
        mistakes += [mistake for rule in CATALOG_RULES for mistake in rule(parts, name)]
    target = _target(raw)
    if target is not None:
        mistakes += TARGET_RULES[target.name](parts, target)
    if mistakes or settings is None:
        raise SettingsError(mistakes)
    return settings


def _judged(raw: Mapping[str, Any]) -> tuple[StackSettings | None, list[ErrorDetails]]:
    try:
        return StackSettings.model_validate_json(json.dumps(raw)), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _mend(raw: dict[str, Any], detail: ErrorDetails) -> None:
    """Write an unknown key as the known one that is near and not there, or take it away."""
    where, tag = _place(detail)
    parent: Any = raw
    for part in where[:-1]:
        parent = parent[part]
    value, near = parent.pop(where[-1]), _near(where, tag)
    if near is not None:
        parent.setdefault(near, value)


def _place(detail: ErrorDetails) -> tuple[list[int | str], str]:
    """Where a mistake is, and which target is meant, if it is in the target."""
    where = list(detail["loc"])
    tag = str(where.pop(1)) if where[:1] == ["target"] and where[1:2] and where[1] in TARGET_RULES else ""
    return where, tag


def _near(where: list[int | str], tag: str) -> str | None:
    return next(iter(difflib.get_close_matches(str(where[-1]), _known_keys(where[:-1], tag), n=1)), None)


def _mapping(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, Mapping) else {}


def _target(raw: Mapping[str, Any]) -> TargetSettings | None:
    try:
        return TypeAdapter(TargetSettings).validate_json(json.dumps(raw.get("target")))
    except ValidationError:
        return None


def _in_words(detail: ErrorDetails) -> Mistake:
    kind = detail["type"]
    where, tag = _place(detail)
    if where[-1:] == ["[key]"] and kind != UNKNOWN_KEY:
        where.pop()  # pydantic's mark for the key of a mapping; a key may also be called so
    context = detail.get("ctx", {})
    path, value = _path(where), detail["input"]
    if kind.startswith("union_tag"):  # the target is none, or has no name
        path, value = f"{path}.name", _mapping(value).get("name")
        kind = "missing" if value is None else kind
    if kind == UNKNOWN_KEY:
        known, near = _known_keys(where[:-1], tag), _near(where, tag)
        remedy = f"Did you mean {near!r}" if near else "Remove it"
        return Mistake(path, value, f"there is no such key; known here: {', '.join(known)}", remedy)
    if kind == "missing":
        return Mistake(path, None, "is required and missing", "Add it")
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        choices = context.get("expected") or context.get("expected_tags")
        return Mistake(path, value, "is not one of the values that exist", f"Choose {choices}")
    if kind == "string_pattern_mismatch":
        rule = PATTERNS.get(str(context.get("pattern")), f"must match {context.get('pattern')}")
        return Mistake(path, value, rule, "Write it so")
    bounds = {
        "greater_than_equal": ("ge", "at least"),
        "less_than_equal": ("le", "at most"),
        "less_than": ("lt", "less than"),
        "greater_than": ("gt", "more than"),
    }
    if kind in bounds:
        key, words = bounds[kind]
        return Mistake(
            path,
            value,
            f"must be {words} {context[key]}",
            "Choose a value in the range",
        )
    if kind in {"too_short", "too_long"}:
        limit = context.get("min_length", context.get("max_length"))
        words = "at least" if kind == "too_short" else "at most"
        return Mistake(path, value, f"must have {words} {limit} entries", "Add or remove some")
    for name, words in KINDS.items():
        if kind.startswith(name):
            return Mistake(path, value, f"must be {words}", f"Write {words}")
    return Mistake(path, value, detail["msg"][:1].lower() + detail["msg"][1:], "Correct it")


def _path(where: list[int | str]) -> str:
    path = ""
    for part in where:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "skerry:stack"


def _known_keys(where: list[int | str], tag: str) -> list[str]:
    """Keys that may stand at a place, read from the JSON Schema, which knows lists, mappings and nested settings.

    Args:
        where: the place.
        tag: which member of the union of targets is meant.
    """
    schema = StackSettings.model_json_schema()
    node = _resolved(schema, schema, tag)
    for part in where:
        inner: Any = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = _resolved(node.get("items", {}) if isinstance(part, int) else inner, schema, tag)
    return sorted(node.get("properties", {}))


def _resolved(node: Any, schema: dict[str, Any], tag: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {}
    found = cast(dict[str, Any], node)
    while "$ref" in found or "discriminator" in found:
        reference = found.get("$ref") or found["discriminator"]["mapping"][tag]
        found = schema["$defs"][reference.rpartition("/")[2]]
    return found
