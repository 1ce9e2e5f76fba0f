"""No setting is there that nobody ever sets: each is set away from its default in some stack or fixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from components.settings.load import load_stack_settings
from components.settings.model import StackSettings
from tests.unit.settings.files import FILES, settings_of

Given = set[tuple[type[BaseModel], str]]


def kinds_in(annotation: Any) -> Iterator[type]:
    """Settings classes and enums that an annotation mentions, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | Enum):
        yield annotation
    for argument in get_args(annotation):
        yield from kinds_in(argument)


def kinds_below(model: type[BaseModel]) -> set[type]:
    """A settings class, and every class and enum below it."""
    found: set[type] = {model}
    for field in model.model_fields.values():
        for kind in kinds_in(field.annotation):
            found |= kinds_below(kind) if issubclass(kind, BaseModel) else {kind}
    return found


def models_in(value: Any) -> Iterator[BaseModel]:
    """Every settings object within a value."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from models_in(getattr(value, name))
    elif isinstance(value, tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from models_in(item)


def set_away(objects: list[BaseModel]) -> Given:
    """Fields with another value than their default; a required one has none."""
    return {
        (type(made), name)
        for made in objects
        for name, field in type(made).model_fields.items()
        if name in made.model_fields_set
        and (field.is_required() or getattr(made, name) != field.get_default())
    }


def enums_given(value: Any) -> Iterator[Enum]:
    """Members of enums that a file gives itself, not by a default."""
    for made in models_in(value):
        for name in made.model_fields_set:
            given = getattr(made, name)
            yield from (
                item for item in (given if isinstance(given, tuple) else [given]) if isinstance(item, Enum)
            )


STACKS = [load_stack_settings(settings_of(path)) for path in FILES]
KINDS = sorted(kinds_below(StackSettings), key=lambda kind: kind.__name__)
FIELDS = [(kind, name) for kind in KINDS if issubclass(kind, BaseModel) for name in kind.model_fields]
MEMBERS = [member for kind in KINDS if issubclass(kind, Enum) for member in kind]
SET = set_away([made for stack in STACKS for made in models_in(stack)])
GIVEN = {member for stack in STACKS for member in enums_given(stack)}


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_a_setting_is_set_somewhere_away_from_its_default(kind: type[BaseModel], name: str) -> None:
    assert (kind, name) in SET, "set it in tests/fixtures/stacks/everything*.yaml, or take it away"


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_choice_is_chosen_somewhere(member: Enum) -> None:
    assert member in GIVEN, "choose it in tests/fixtures/stacks/everything*.yaml, or take it away"


def test_the_walk_finds_the_targets_own_settings_and_the_nested_ones() -> None:
    names = {kind.__name__ for kind in KINDS}
    assert names >= {"LocalTarget", "HealthSettings", "RegionSettings", "Scheme", "Layer"}


def test_a_value_that_is_its_default_does_not_count() -> None:
    stack = load_stack_settings({**settings_of(FILES[0]), "endpoint": {"request_timeout_seconds": 300}})
    assert "request_timeout_seconds" not in {name for _, name in set_away(list(models_in(stack.endpoint)))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: Path(path).name)
def test_a_stack_file_loads(path: Path) -> None:
    assert load_stack_settings(settings_of(path)).regions
