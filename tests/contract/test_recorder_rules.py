"""A recording fails for a component that forgets its outputs, its children or whose options are whose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi import ResourceOptions

from tests.contract.boxes import ANSWERS, Box, Children, Provider, Thing, inside
from tests.recorder import record


class Silent(pulumi.ComponentResource):
    """Registers no outputs, and is given none to give."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:Silent", name, {}, opts)


class Changed(Box):
    """Goes by other options than it was given, and hands on those that it was given."""

    def __init__(self, name: str, children: Children, opts: ResourceOptions | None = None) -> None:
        changed = ResourceOptions.merge(opts, ResourceOptions(protect=True))
        super().__init__(name, lambda box, _: children(box, opts), changed)


class Careless(pulumi.ComponentResource):
    """Makes options of its own where it is given none, and hands them on."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        opts = opts or ResourceOptions(protect=True)
        super().__init__("skerry:index:Careless", name, {}, opts)
        Thing("child", ResourceOptions.merge(opts, inside(self)))
        self.register_outputs({})


class Keeper(Box):
    """Keeps its options for a child that comes later."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        self.opts = opts
        super().__init__(name, opts=opts)

    def make(self) -> None:
        Thing("late", ResourceOptions.merge(self.opts, inside(self)))


def test_a_component_that_registers_no_outputs_fails() -> None:
    with pytest.raises(AssertionError, match="Silent 'b' registers no outputs.*register_outputs") as caught:
        record(lambda: [Box("a"), Silent("b")], ANSWERS)
    assert "'a'" not in str(caught.value)


ORPHANS: dict[str, Children] = {
    "a resource at the root": lambda box, _: Thing("child"),
    "a resource below one at the root": lambda box, _: Thing("child", inside(Thing("outer"))),
    "a component at the root": lambda box, _: Box("child"),
}


@pytest.mark.parametrize("children", ORPHANS.values(), ids=ORPHANS)
def test_a_child_that_does_not_stand_in_its_component_fails(children: Children) -> None:
    with pytest.raises(AssertionError, match="'child' stands in no component.*parent=self"):
        record(lambda: Box("box", children, inside(Box("around"))), ANSWERS)


def test_what_a_component_asks_another_for_may_stand_there() -> None:
    def program() -> None:
        asked = Box("asked")
        Box("box", lambda box, _: [Box("answer", opts=inside(asked)), Thing("thing", inside(asked))])

    assert len(record(program, ANSWERS).resources) == 4


def test_a_child_may_stand_deeper_in_its_component() -> None:
    def children(box: Box, _: Any) -> None:
        inner = Box("inner", opts=inside(box))
        Thing("below", inside(Thing("child", inside(inner))))
        Box("deep", opts=inside(inner))

    assert len(record(lambda: Box("box", children), ANSWERS).resources) == 5


def test_a_provider_and_a_stack_reference_may_stand_at_the_root() -> None:
    def program() -> None:
        Provider("test")
        pulumi.StackReference("other")

    assert len(record(program, ANSWERS, references={"other": {}}).resources) == 2


def test_bare_resources_are_recorded_only_where_that_is_asked_for() -> None:
    with pytest.raises(AssertionError, match="'a' stands in no component"):
        record(lambda: Thing("a"), ANSWERS)
    made = record(lambda: Thing("a"), ANSWERS, strict=False).one("Thing")
    assert (made.parent, made.provider) == ("", "")


LEAKS: dict[str, Children] = {
    "as they are": lambda box, opts: Thing("child", opts),
    "below": lambda box, opts: Thing("child", ResourceOptions.merge(opts, inside(box))),
    "above": lambda box, opts: Thing("child", ResourceOptions.merge(inside(box), opts)),
    "by their own merge": lambda box, opts: Thing("child", opts.merge(inside(box)) if opts else None),
    "copied": lambda box, opts: Thing("child", copy.copy(opts)),
    "to a component": lambda box, opts: Box("child", opts=ResourceOptions.merge(opts, inside(box))),
    "to a grandchild": lambda box, opts: Box(
        "inner", lambda inner, _: Thing("child", ResourceOptions.merge(opts, inside(inner))), inside(box)
    ),
}


@pytest.mark.parametrize("kind", [Box, Changed])
@pytest.mark.parametrize("children", LEAKS.values(), ids=LEAKS)
def test_a_child_that_is_given_its_components_options_fails(
    kind: Callable[..., Box], children: Children
) -> None:
    # In a component around it, even a child that is given the options as they are has a parent.
    with pytest.raises(AssertionError, match="'child' was given the options of .*Box 'box'") as caught:
        record(lambda: kind("box", children, inside(Box("around"))), ANSWERS)
    assert str(caught.value).count("\n") == 1


def test_options_that_are_kept_for_a_later_child_fail() -> None:
    with pytest.raises(AssertionError, match="'late' was given the options of .*Box 'keeper'"):
        record(lambda: Keeper("keeper", inside(Box("around"))).make(), ANSWERS)


def test_options_that_a_component_makes_for_itself_are_its_own_too() -> None:
    with pytest.raises(AssertionError, match="'child' was given the options of .*Careless 'careless'"):
        record(lambda: Careless("careless"), ANSWERS)


def test_a_component_whose_class_comes_on_the_way_is_held_to_the_rules() -> None:
    def program() -> None:
        class Late(Changed):
            def __init__(self, opts: ResourceOptions | None = None) -> None:
                super().__init__(
                    "box", lambda box, _: Thing("child", opts), ResourceOptions.merge(opts, None)
                )

        Late(inside(Box("around")))

    with pytest.raises(AssertionError, match="'child' was given the options of .*Box 'box'"):
        record(program, ANSWERS)


def test_what_a_child_inherits_is_no_leak() -> None:
    def program() -> None:
        opts = ResourceOptions(protect=True, providers=[Provider("test")], aliases=[pulumi.Alias(name="old")])
        Box("box", lambda box, _: Thing("child", inside(box)), opts)

    child = record(program, ANSWERS).one("Thing")
    assert child.protect and child.provider and not child.aliases


def test_options_that_a_caller_gives_to_several_children_are_no_leak() -> None:
    def children(box: Box, _: Any) -> None:
        shared = inside(box)
        Box("first", opts=shared)
        Box("second", opts=shared)
        Thing("third", shared)

    assert len(record(lambda: Box("box", children), ANSWERS).resources) == 4


def test_all_that_break_a_rule_are_named_at_once() -> None:
    def program() -> None:
        Silent("silent")
        Careless("careless")
        Thing("orphan")

    with pytest.raises(AssertionError) as caught:
        record(program, ANSWERS)
    assert all(
        words in str(caught.value) for words in ("'silent' registers", "'child' was", "'orphan' stands")
    )


def test_components_are_constructed_as_before_once_a_recording_is_over() -> None:
    before = {kind: vars(kind)["__init__"] for kind in (pulumi.ComponentResource, Box, Changed)}
    with pytest.raises(AssertionError, match="stands in no component"):
        record(lambda: Thing("a"), ANSWERS)
    assert {kind: vars(kind)["__init__"] for kind in before} == before
    assert "__init_subclass__" not in vars(pulumi.ComponentResource)
