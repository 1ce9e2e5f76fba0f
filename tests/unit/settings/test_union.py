"""The targets' settings are told apart by name, also before there is a second target."""

from __future__ import annotations

from typing import Literal, get_args

import pytest
from pydantic import Field, ValidationError

from components.assembly import TARGETS
from components.settings.base import Frozen
from components.settings.targets import TARGET_RULES, TargetSettings, told_apart


class Sun(Frozen):
    """A target of this test."""

    name: Literal["sun"]
    heat: int


class Moon(Frozen):
    """Another one, whose own setting has another name."""

    name: Literal["moon"]
    phase: str


class Stack(Frozen):
    """A stack with both."""

    target: Sun | Moon = Field(discriminator=told_apart(Sun | Moon))


def test_each_name_brings_its_own_settings() -> None:
    assert Stack.model_validate({"target": {"name": "sun", "heat": 5}}).target == Sun(name="sun", heat=5)
    assert Stack.model_validate({"target": {"name": "moon", "phase": "full"}}).target == Moon(
        name="moon", phase="full"
    )


def test_a_mistake_within_a_target_is_told_about_that_target_alone() -> None:
    with pytest.raises(ValidationError) as caught:
        Stack.model_validate({"target": {"name": "moon", "phase": 7}})
    assert [error["type"] for error in caught.value.errors()] == ["string_type"]


def test_the_settings_of_another_target_are_refused() -> None:
    with pytest.raises(ValidationError, match="heat"):
        Stack.model_validate({"target": {"name": "moon", "phase": "full", "heat": 5}})


def test_an_unknown_name_is_answered_with_both() -> None:
    with pytest.raises(ValidationError, match="'sun', 'moon'"):
        Stack.model_validate({"target": {"name": "mars"}})


def test_a_union_of_one_needs_no_telling_apart() -> None:
    assert told_apart(Sun) is None


def test_every_target_has_rules() -> None:
    kinds = get_args(TargetSettings)
    names = {get_args(kind.model_fields["name"].annotation)[0] for kind in kinds}
    assert names == set(TARGET_RULES) == set(TARGETS)
