"""The recorder that the components' tests stand on sees what reaches the engine, to the end of the program."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pulumi
import pytest
from pulumi import Output, ResourceOptions
from pulumi_kubernetes.core.v1 import ConfigMap

from tests.contract.boxes import ANSWERS, Box, Provider, Thing, inside, refuse
from tests.recorder import Recording, record


def boxed(opts: ResourceOptions | None = None, inputs: Any = None, **more: Any) -> Recording:
    """A box with a thing `a`, and in the same box a thing `b` with these options and inputs."""

    def children(box: Box, _: Any) -> None:
        Thing("a", inside(box))
        Thing("b", ResourceOptions.merge(opts, inside(box)), inputs)

    return record(lambda: Box("box", children), ANSWERS, **more)


def test_an_assertion_that_fails_in_an_apply_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="7.0 is not what was expected"):
        record(lambda: Thing("a").size.apply(refuse), ANSWERS)


def test_what_a_program_returns_is_resolved_however_deep() -> None:
    assert record(lambda: {"a": [Thing("a").size]}, ANSWERS, strict=False).returned == {"a": [7]}


def test_what_nobody_waits_for_is_recorded_too() -> None:
    assert [made.name for made in boxed().of("Thing")] == ["a", "b"]


def test_a_name_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="test:index:Thing::a is registered twice"):
        record(lambda: [Thing("a").id, Thing("a").id], ANSWERS)


def test_outputs_that_are_registered_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="Box 'box' registers its outputs twice"):
        record(lambda: Box("box", lambda box, _: box.register_outputs({})), ANSWERS)


def test_nothing_of_a_recording_reaches_the_next() -> None:
    def program() -> Any:
        return [pulumi.Config("aws").get("region"), pulumi.get_stack()]

    record(program, {}, config={"aws:region": "r1"}, stack="dev")
    assert record(program, {}).returned == [None, "contract"]


def test_a_recording_that_failed_leaves_nothing_to_the_next() -> None:
    def program() -> None:
        never = asyncio.get_running_loop().create_future()
        Output.from_input(never).apply(refuse)
        Thing("a").size.apply(refuse)

    with pytest.raises(AssertionError, match="7.0 is not what was expected"):
        record(program, ANSWERS)
    assert record(lambda: Output.from_input(1), {}).returned == 1


def test_a_recording_that_failed_logs_nothing_when_its_remains_are_collected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ValueError, match="registered twice"):
        record(lambda: [Thing("a").id, Thing("a").id], ANSWERS)
    gc.collect()
    assert caplog.records == []


def test_inputs_have_the_engines_names() -> None:
    def children(box: Box, _: Any) -> None:
        ConfigMap("map", binary_data={"snake_key": "v"}, opts=inside(box))

    made = record(lambda: Box("box", children, args={"own_name": 1}), {})
    assert made.one("core/v1:ConfigMap").inputs == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "binaryData": {"snake_key": "v"},
    }
    assert made.one("Box").inputs == {"own_name": 1}


def test_a_resource_as_an_input_is_its_id_and_a_component_its_urn() -> None:
    def children(box: Box, _: Any) -> None:
        inner = Box("inner", lambda inner, _: ConfigMap("map", opts=inside(inner)), inside(box))
        Thing("thing", inside(box), {"map": inner.made, "inner": inner})

    recording = record(lambda: Box("box", children), ANSWERS)
    thing, inner = recording.one("Thing"), recording.one("Box", "inner")
    assert (thing.inputs["map"], thing.inputs["inner"]) == ("map-id", inner.urn)
    assert thing.dependencies == {recording.one("ConfigMap").urn}


def test_a_parent_is_seen() -> None:
    recording = boxed()
    thing, box = recording.one("Thing", "a"), recording.one("Box")
    assert (thing.parent, box.parent) == (box.urn, "")
    assert list(recording.ancestors(thing)) == [box]


def test_a_urn_is_the_engines() -> None:
    assert set(boxed(stack="acme/fjord/dev").resources) == {
        "urn:pulumi:dev::fjord::skerry:index:Box::box",
        "urn:pulumi:dev::fjord::skerry:index:Box$test:index:Thing::a",
        "urn:pulumi:dev::fjord::skerry:index:Box$test:index:Thing::b",
    }


def test_registered_outputs_are_seen_and_which_of_them_are_secret() -> None:
    def program() -> None:
        Box("box", outputs={"size": 1, "key": Output.secret("hush"), "inner": {"key": Output.secret("hush")}})

    made = record(program, {}).one("Box")
    assert made.outputs == {"size": 1, "key": "hush", "inner": {"key": "hush"}}
    assert made.secret_outputs == {"key", "inner"}


def test_secret_inputs_are_seen_and_stay_secret_on_the_way() -> None:
    def children(box: Box, _: Any) -> Output[Any]:
        made = Thing(
            "a", inside(box), {"color": Output.secret("red"), "labels": {"key": Output.secret("hush")}}
        )
        return made.color

    def program() -> None:
        box = Box("box", children)
        Box("next", outputs={"color": box.made})

    recording = record(program, ANSWERS)
    made = recording.one("Thing")
    assert made.inputs == {"color": "red", "labels": {"key": "hush"}}
    assert made.secret_inputs == {"color", "labels"}
    assert recording.one("Box", "next").secret_outputs == {"color"}


@pytest.mark.parametrize("size", [7, {"width": 7}])
def test_additional_secret_outputs_are_seen_and_are_secret(size: Any) -> None:
    def program() -> None:
        opts = ResourceOptions(additional_secret_outputs=["size", "other"])
        box = Box("box", lambda box, _: Thing("a", ResourceOptions.merge(opts, inside(box))))
        Box("next", outputs={"size": box.made.size, "color": box.made.color})

    recording = record(program, {"test:index:Thing": lambda _: {"size": size}})
    assert recording.one("Thing").additional_secret_outputs == ("size", "other")
    made = recording.one("Box", "next")
    assert (made.outputs, made.secret_outputs) == ({"size": size, "color": "red"}, {"size"})


def test_dependencies_are_seen_from_depends_on_and_from_inputs() -> None:
    def children(box: Box, _: Any) -> None:
        first, second = Thing("first", inside(box)), Thing("second", inside(box))
        inputs = {"width": second.size, "depth": 1}
        Thing("last", ResourceOptions(parent=box, depends_on=[first]), inputs)

    recording = record(lambda: Box("box", children), ANSWERS)
    last = recording.one("Thing", "last")
    first, second = (recording.one("Thing", name).urn for name in ("first", "second"))
    assert last.dependencies == {first, second}
    assert last.property_dependencies == {"width": {second}}
    assert recording.one("Thing", "first").dependencies == frozenset()


def test_to_depend_on_a_component_is_to_depend_on_what_stands_in_it() -> None:
    def program() -> None:
        inner = Box("inner", lambda box, _: Thing("a", inside(box)))
        Box("box", lambda box, _: Thing("b", ResourceOptions(parent=box, depends_on=[inner])))

    recording = record(program, ANSWERS)
    assert recording.one("Thing", "b").dependencies == {recording.one("Thing", "a").urn}


def test_aliases_are_seen_without_the_recorders_own() -> None:
    aliases = ["urn:old", pulumi.Alias(name="old"), pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]
    assert boxed(ResourceOptions(aliases=aliases)).one("Thing", "b").aliases == (
        "urn:old",
        {"name": "old"},
        {"noParent": True},
    )
    box = record(lambda: Box("box", opts=ResourceOptions(aliases=aliases)), {}).one("Box")
    assert box.aliases == boxed(ResourceOptions(aliases=aliases)).one("Thing", "b").aliases
    assert boxed().one("Box").aliases == ()


def test_protection_is_seen_and_where_it_is_inherited() -> None:
    recording = boxed(ResourceOptions(protect=True))
    assert [made.protect for made in recording.of("Thing")] == [False, True]
    inherited = record(
        lambda: Box("box", lambda box, _: Thing("a", inside(box)), ResourceOptions(protect=True)), ANSWERS
    )
    assert inherited.one("Thing").protect


def test_ignored_changes_and_what_is_retained_are_seen() -> None:
    made = boxed(ResourceOptions(ignore_changes=["color"], retain_on_delete=True)).one("Thing", "b")
    assert (made.ignore_changes, made.retain_on_delete) == (("color",), True)
    plain = boxed().one("Thing", "b")
    assert (plain.ignore_changes, plain.retain_on_delete) == ((), False)


def test_a_provider_is_seen_through_the_providers_of_a_component() -> None:
    def program() -> None:
        opts = ResourceOptions(providers=[Provider("test")])
        Box("box", lambda box, _: Box("inner", lambda inner, _: Thing("a", inside(inner)), inside(box)), opts)

    recording = record(program, ANSWERS)
    thing, provider = recording.one("Thing"), recording.one("pulumi:providers:test")
    assert thing.provider == f"{provider.urn}::test-id"
    assert recording.provider_of(thing) is provider
    assert recording.one("Box", "inner").providers == {"test": thing.provider}


def test_the_default_provider_is_no_provider() -> None:
    recording = boxed()
    with pytest.raises(AssertionError, match="Thing 'a' has no provider of its own"):
        recording.provider_of(recording.one("Thing", "a"))


def test_a_resource_that_is_only_read_is_told_from_one_that_is_made() -> None:
    recording = boxed(ResourceOptions(id="i-1"))
    assert [made.is_read for made in recording.of("Thing")] == [False, True]


def test_a_component_that_is_made_elsewhere_tells_its_outputs_with_the_answer() -> None:
    class Chart(pulumi.ComponentResource):
        def __init__(self, name: str) -> None:
            super().__init__("test:index:Chart", name, {"ready": None}, remote=True)

    recording = record(lambda: Chart("chart"), {"test:index:Chart": lambda _: {"ready": True}})
    assert recording.one("Chart").outputs == {"ready": True}
