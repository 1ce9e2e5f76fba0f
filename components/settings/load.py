"""From a plain mapping to settings, or to every mistake in it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from components.settings.base import NAME_PATTERN, NAME_RULE
from components.settings.items import SOURCE_PATTERN, SOURCE_RULE
from components.settings.mistakes import Mistake, SettingsError
from components.settings.model import LABEL_KEY, LABEL_VALUE, StackSettings
from components.settings.parts import parts_of
from components.settings.rules import RULES, accelerators_are_in_the_catalog
from components.settings.targets import TARGET_RULES, TargetSettings

PATTERNS = {
    NAME_PATTERN: NAME_RULE,
    LABEL_KEY: "a label's key is a lower-case letter, then lower-case letters, digits, '_' and '-', at most 63",
    SOURCE_PATTERN: SOURCE_RULE,
    LABEL_VALUE: "a label's value is lower-case letters, digits, '_' and '-', at most 63",
}
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


def load_stack_settings(config: Mapping[str, object]) -> StackSettings:
    """Settings from what stands under `skerry:stack`.

    Raises:
        SettingsError: with all mistakes, of single values and of how they fit together.
    """
    text = json.dumps(config)
    raw = cast(Mapping[str, Any], json.loads(text))
    mistakes: list[Mistake] = []
    settings = None
    try:
        settings = StackSettings.model_validate_json(text)
    except ValidationError as error:
        mistakes += [_in_words(detail) for detail in error.errors(include_url=False)]
    parts = parts_of(raw)
    mistakes += [mistake for rule in RULES for mistake in rule(parts)]
    name = _mapping(raw.get("target")).get("name")
    if isinstance(name, str) and name in TARGET_RULES:
        mistakes += accelerators_are_in_the_catalog(parts, name)
    target = _target(raw)
    if target is not None:
        mistakes += TARGET_RULES[target.name](parts, target)
    if mistakes or settings is None:
        raise SettingsError(mistakes)
    return settings


def _mapping(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, Mapping) else {}


def _target(raw: Mapping[str, Any]) -> TargetSettings | None:
    try:
        return TypeAdapter(TargetSettings).validate_json(json.dumps(raw.get("target")))
    except ValidationError:
        return None


def _in_words(detail: ErrorDetails) -> Mistake:
    kind, where = detail["type"], list(detail["loc"])
    if where[-1:] == ["[key]"] and kind != "extra_forbidden":
        where.pop()  # pydantic's mark for the key of a mapping; a key may also be called so
    context = detail.get("ctx", {})
    path, value = _path(where), detail["input"]
    if kind == "extra_forbidden":
        known = _known_keys(where[:-1])
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        remedy = f"Did you mean {near[0]!r}" if near else "Remove it"
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


def _known_keys(where: list[int | str]) -> list[str]:
    """Keys that may stand at a place, read from the JSON Schema, which knows lists and nested settings."""
    schema = StackSettings.model_json_schema()
    node = schema
    for part in where:
        node = _resolved(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return sorted(_resolved(node, schema).get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
