"""The JSON Schema that editors check stack files with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from components.settings.schema import FILE, stack_file_schema
from tests.unit.settings.files import FILES, FIXTURES, LOCAL, STACK_FILES, read

SCHEMA = stack_file_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def refusals(changes: dict[str, Any], config: dict[str, Any] | None = None, **top: Any) -> list[str]:
    """What the schema says against the local stack with changes."""
    settings = {**copy.deepcopy(LOCAL), **changes}
    file = {"config": {"skerry:stack": settings, **(config or {})}, **top}
    return [error.message for error in VALIDATOR.iter_errors(file)]


def properties_of(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property that a schema names, with its path."""
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items():
            yield f"{path}.{name}", value
        for key, value in node.items():
            yield from properties_of(value, f"{path}.{key}")


def test_the_committed_schema_is_what_the_settings_say() -> None:
    assert json.loads(FILE.read_text()) == SCHEMA, "run ./skerry schema"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_there_are_stacks_and_fixtures_to_check() -> None:
    assert {path.name for path in STACK_FILES} >= {"Pulumi.local.yaml"}
    assert {path.name for path in FIXTURES} >= {"everything.yaml", "platform-only.yaml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_stack_file_is_valid(path: Path) -> None:
    VALIDATOR.validate(read(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_stack_file_names_its_schema_to_editors_on_its_first_line(path: Path) -> None:
    comment, _, schema = path.read_text().splitlines()[0].partition("$schema=")
    assert comment == "# yaml-language-server: "
    assert (path.parent / schema).resolve() == FILE


def test_the_unspoiled_stack_is_valid() -> None:
    assert refusals({}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"regoins": []},
        {"target": {"name": "local", "prot": 1}},
        {"target": {"name": "moon"}},
        {"endpoint": {"health": {"interval": 1}}},
        {"environment": 7},
        {"environment": "Prod_1"},
        {"regions": []},
        {"regions": [{"name": "east", "dial": 2}]},
        {"regions": {"east": {}}},
        {"pools": [{"name": "train", "accelerator": "cpu", "max_nodes": "2"}]},
        {"pools": [{"name": "train", "accelerator": "cpu"}]},
        {"layers": ["platfrom"]},
        {"labels": {"Team": "a"}},
        {"labels": {"team": "A b"}},
    ],
    ids=str,
)
def test_an_editor_refuses_what_the_settings_refuse(changes: dict[str, Any]) -> None:
    assert refusals(changes)


def test_a_second_plain_key_of_our_namespace_is_refused() -> None:
    assert refusals({}, {"skerry:stak": "text"})


def test_a_secret_and_the_keys_of_others_are_accepted() -> None:
    assert refusals({}, {"skerry:token": {"secure": "v1:abc"}, "aws:region": "us-east-1"}) == []


def test_an_unknown_key_beside_config_is_refused() -> None:
    assert refusals({}, confg={})


def test_every_property_is_described() -> None:
    found = dict(properties_of(SCHEMA["properties"]["config"]["properties"]["skerry:stack"]))
    found |= properties_of(SCHEMA["$defs"], "$defs")
    assert len(found) > 30
    assert [path for path, node in found.items() if not node.get("description", "").strip()] == []
