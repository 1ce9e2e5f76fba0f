"""The recorder that the contract's tests stand on can fail."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from tests.recorder import record


class Box(pulumi.ComponentResource):
    """A component that may forget to register its outputs."""

    def __init__(self, name: str, told: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:Box", name, {}, opts)
        if told:
            self.register_outputs({"told": True})


class Thing(pulumi.CustomResource):
    """A resource with one computed output."""

    size: pulumi.Output[int]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Thing", name, {"color": "red", "size": None}, opts)


ANSWERS: Any = {"test:index:Thing": lambda inputs: {"size": 7}}


def refuse(value: Any) -> None:
    raise AssertionError(f"{value} is not what was expected")


def test_an_assertion_that_fails_in_an_apply_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="7 is not what was expected"):
        record(lambda: Thing("a").size.apply(refuse), ANSWERS)


def test_what_a_program_returns_is_resolved_however_deep() -> None:
    assert record(lambda: {"a": [Thing("a").size]}, ANSWERS).returned == {"a": [7]}


def test_what_nobody_waits_for_is_recorded_too() -> None:
    def program() -> None:
        Thing("a")

    assert [made.name for made in record(program, ANSWERS).of(":Thing")] == ["a"]


def test_a_component_that_registers_no_outputs_is_seen() -> None:
    recording = record(lambda: [Box("a", told=True).urn, Box("b", told=False).urn], ANSWERS)
    assert {made.name: made.outputs for made in recording.of(":Box")} == {"a": {"told": True}, "b": None}


def test_a_resource_without_a_parent_or_provider_is_seen() -> None:
    (made,) = record(lambda: [Thing("a").id], ANSWERS).of(":Thing")
    assert (made.parent, made.provider) == ("", "")


def test_a_parent_is_seen() -> None:
    recording = record(lambda: Thing("a", pulumi.ResourceOptions(parent=Box("b", told=True))).id, ANSWERS)
    assert recording.of(":Thing")[0].parent == recording.of(":Box")[0].urn


def test_a_name_that_is_given_twice_is_refused() -> None:
    with pytest.raises(Exception, match="registered twice"):
        record(lambda: [Thing("a").id, Thing("a").id], ANSWERS)
