"""A program is answered as the engine and the providers would answer it."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi import Output, ResourceOptions
from pulumi.output import Unknown

from tests.contract.boxes import ANSWERS, Box, Provider, Thing, inside, refuse
from tests.recorder import record, secret

READ_STACK = "pulumi:pulumi:readStackOutputs"
LOOK_UP = "test:index:lookUp"
OTHER = "organization/skerry/dev-aws-us-east-1"


def test_an_answer_can_be_secret() -> None:
    def program() -> None:
        box = Box("box", lambda box, _: Thing("a", inside(box)))
        Box("next", outputs={"size": box.made.size})

    recording = record(program, {"test:index:Thing": lambda _: {"size": secret(7)}})
    assert recording.one("Box", "next").secret_outputs == {"size"}


def test_an_answer_is_computed_from_the_inputs_as_they_are() -> None:
    def program() -> Any:
        box = Box("box", lambda box, _: Thing("a", inside(box), {"color": Output.secret("red")}))
        return box.made.size

    assert record(program, {"test:index:Thing": lambda inputs: {"size": len(inputs["color"])}}).returned == 3


@pytest.mark.parametrize("preview", [False, True])
def test_what_is_imported_has_the_id_that_it_is_imported_by(preview: bool) -> None:
    def program() -> Any:
        return Box("box", lambda box, _: Thing("a", ResourceOptions(parent=box, import_="i-1"))).made.id

    assert record(program, ANSWERS, preview=preview).returned == "i-1"


def test_a_preview_knows_neither_ids_nor_what_providers_compute() -> None:
    def program() -> Any:
        made = Box("box", lambda box, _: Thing("a", inside(box))).made
        return {"id": made.id, "size": made.size, "color": made.color}

    seen = record(program, ANSWERS, preview=True).returned
    assert isinstance(seen["id"], Unknown) and isinstance(seen["size"], Unknown)
    assert seen["color"] == "red"


def test_a_preview_runs_no_apply_of_what_is_unknown_and_records_what_comes_of_it_as_unknown() -> None:
    def children(box: Box, _: Any) -> None:
        size = Thing("a", inside(box)).size
        Thing("b", inside(box), {"twice": size.apply(refuse), "deep": {"sizes": [size]}})

    recording = record(lambda: Box("box", children), ANSWERS, preview=True)
    made = recording.one("Thing", "b")
    assert isinstance(made.inputs["twice"], Unknown) and isinstance(made.inputs["deep"]["sizes"][0], Unknown)
    assert made.dependencies == {recording.one("Thing", "a").urn}


def test_a_program_can_ask_whether_it_is_a_preview() -> None:
    for preview in (True, False):
        assert record(pulumi.runtime.is_dry_run, {}, preview=preview).returned is preview


def test_a_preview_knows_what_is_only_read() -> None:
    def program() -> Any:
        made = Box("box", lambda box, _: Thing("a", ResourceOptions(parent=box, id="i-1"))).made
        return [made.size, made.color]

    assert record(program, ANSWERS, preview=True).returned == [7, "red"]


def test_a_preview_does_not_know_what_is_read_by_an_unknown_id() -> None:
    def children(box: Box, _: Any) -> Thing:
        made = Thing("a", inside(box))
        return Thing("b", ResourceOptions(parent=box, id=made.id))

    assert isinstance(record(lambda: Box("box", children).made.size, ANSWERS, preview=True).returned, Unknown)


def test_a_provider_whose_id_is_unknown_is_still_found() -> None:
    def program() -> None:
        Box("box", lambda box, _: Thing("a", inside(box)), ResourceOptions(providers=[Provider("test")]))

    recording = record(program, ANSWERS, preview=True)
    assert recording.provider_of(recording.one("Thing")).name == "test"


def referring() -> Any:
    other = pulumi.StackReference("other", OTHER)
    return {
        "url": other.get_output("url"),
        "missing": other.get_output("missing"),
        "secrets": [other.get_output(key).is_secret() for key in ("url", "key")],
    }


@pytest.mark.parametrize("preview", [False, True])
def test_the_outputs_of_another_stack_are_known_and_its_secrets_secret(preview: bool) -> None:
    outputs = {"url": "http://a", "key": secret("hush")}
    recording = record(referring, {}, references={OTHER: outputs}, preview=preview)
    assert recording.returned == {"url": "http://a", "missing": None, "secrets": [False, True]}
    assert recording.one("StackReference").is_stack_reference


@pytest.mark.parametrize("name", ["dev-aws-us-east-1", "organization/skerry/dev-aws-us-east-2"])
def test_a_stack_that_is_not_listed_is_unknown(name: str) -> None:
    with pytest.raises(Exception, match=f'^unknown stack "{name}"$'):
        record(lambda: pulumi.StackReference(name).outputs, {}, references={OTHER: {}})


async def outputs_of(stack: str) -> Any:
    try:
        return await pulumi.runtime.invoke_async(READ_STACK, {"name": stack})
    except Exception as error:
        return str(error)


def test_the_outputs_of_another_stack_can_be_read_without_a_reference() -> None:
    recording = record(lambda: outputs_of(OTHER), {}, references={OTHER: {"url": "http://a"}})
    assert recording.returned == {"name": OTHER, "outputs": {"url": "http://a"}, "secretOutputNames": []}
    assert recording.resources == {} and recording.calls == []


def test_a_program_can_go_on_without_a_stack_that_is_not_listed() -> None:
    assert record(lambda: outputs_of(OTHER), {}).returned.endswith(
        f'returned an error: unknown stack "{OTHER}"'
    )


def look_up() -> Any:
    return pulumi.runtime.invoke(LOOK_UP, {"name": "image"}).value


def test_a_function_that_is_listed_is_answered_and_its_call_seen() -> None:
    def program() -> Any:
        later = pulumi.runtime.invoke_output(
            LOOK_UP, {"name": "later"}, pulumi.InvokeOptions(provider=Provider("test"))
        )
        return [look_up(), later]

    recording = record(program, {LOOK_UP: lambda args: {"id": f"{args['name']}-1"}})
    assert recording.returned == [{"id": "image-1"}, {"id": "later-1"}]
    provider = f"{recording.one('pulumi:providers:test').urn}::test-id"
    assert {(call.token, call.args["name"], call.provider) for call in recording.calls} == {
        (LOOK_UP, "image", ""),
        (LOOK_UP, "later", provider),
    }


def test_a_function_that_is_not_listed_is_refused() -> None:
    with pytest.raises(LookupError, match="test:index:lookUp is called with {'name': 'image'}.*an answer"):
        record(look_up, ANSWERS)


def test_a_program_knows_its_stack_project_and_organization() -> None:
    def names() -> list[str]:
        return [pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()]

    stacks = ("dev", "fjord/dev", "acme/fjord/dev")
    assert [record(names, {}, stack=stack).returned for stack in stacks] == [
        ["organization", "skerry", "dev"],
        ["organization", "fjord", "dev"],
        ["acme", "fjord", "dev"],
    ]


def test_a_program_reads_its_configuration_as_the_engine_hands_it_on() -> None:
    def program() -> Any:
        ours = pulumi.Config("skerry")
        return [
            pulumi.Config("aws").get("region"),
            ours.get_object("stack"),
            ours.get_bool("open"),
            pulumi.runtime.config.is_config_secret("skerry:key"),
        ]

    config = {"aws:region": "r1", "skerry:stack": {"a": 1}, "skerry:open": True, "skerry:key": secret("hush")}
    assert record(program, {}, config=config).returned == ["r1", {"a": 1}, True, True]
