"""Three stacks of a small project on the real engine, one of which reads the two others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from cli.rehearsal import REFUSALS
from cli.rehearsal.phases import EMPTY, PHASES, WITH_DATA, Rehearsed
from cli.rehearsal.plan import plan
from cli.rehearsal.play import rehearse
from cli.rehearsal.stage import stage
from tests.rehearsal.caller import PROJECT

REGIONAL = ("small-aws", "small-gcp")
COMPUTED = {
    "small-aws": {"vpc", "security_group", "issuer", "scaled", "endpoint"},
    "small-gcp": {"email", "endpoint"},
    "small-global": {"address"},
}


@pytest.fixture(scope="module")
def told() -> tuple[list[Rehearsed], list[str]]:
    """The results, and the lines of progress."""
    progress = io.StringIO()
    with stage() as made, redirect_stderr(progress):
        results = rehearse(made, PROJECT, plan(PROJECT, ["small-global"]))
    return results, progress.getvalue().splitlines()


@pytest.fixture(scope="module")
def results(told: tuple[list[Rehearsed], list[str]]) -> dict[str, Rehearsed]:
    return {result.stack: result for result in told[0]}


def outputs(text: str) -> Iterator[tuple[str, str]]:
    """Names of outputs, and whether the program found them known or unknown."""
    for line in text.splitlines():
        _, _, note = line.partition("info: ")
        if note.endswith("known"):
            name, _, state = note.partition(" is ")
            yield name, state


def test_the_stacks_that_another_reads_are_up_before_it_and_go_after_it(
    told: tuple[list[Rehearsed], list[str]],
) -> None:
    order = [line for line in told[1] if not line.startswith(EMPTY)]
    assert list(dict.fromkeys(order)) == [
        *(f"{stack}: {phase}" for stack in (*REGIONAL, "small-global") for phase in PHASES[:3]),
        "small-global: destroy",
        *(f"small-gcp: {phase}" for phase in (WITH_DATA, "destroy")),
        "small-aws: destroy",
        *(f"{stack}: {phase}" for stack in (*REGIONAL, "small-global") for phase in PHASES[5:]),
    ]


@pytest.mark.parametrize("stack", COMPUTED)
def test_what_a_cloud_computes_is_unknown_in_the_first_preview_only(
    results: dict[str, Rehearsed], stack: str
) -> None:
    states = {phase: dict(outputs(results[stack].runs[phase].text)) for phase in PHASES[:3]}
    unknown = {name for name, state in states["preview"].items() if state == "unknown"}
    assert unknown == COMPUTED[stack]
    assert set(states["up"].values()) == set(states["second preview"].values()) == {"known"}


def test_what_the_stack_file_says_is_known_in_the_first_preview(results: dict[str, Rehearsed]) -> None:
    assert ("cidr", "known") in outputs(results["small-aws"].runs["preview"].text)


def test_a_stack_reads_what_the_others_have_exported(results: dict[str, Rehearsed]) -> None:
    preview = results["small-global"].runs["preview"].text
    assert (
        'eu-west-1  : "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/front-' in preview
    )
    assert '80: "answers"' in preview, "the endpoint groups of a Service with the annotation"


def test_every_resource_that_a_stand_in_answered_for_is_counted_by_type(
    results: dict[str, Rehearsed],
) -> None:
    types = results["small-aws"].types
    assert types["aws:ec2/subnet:Subnet"] == 2 and types["pulumi:providers:aws"] == 1
    assert types.total() == 12
    assert results["small-global"].types.total() == 5, "a StackReference is the engine's own"
    assert results[EMPTY].types.total() == 0


def test_every_phase_of_every_stack_has_its_seconds_and_memory(results: dict[str, Rehearsed]) -> None:
    for result in results.values():
        without = () if result.stack == "small-gcp" else (WITH_DATA,)
        again = PHASES[5:] if result.stack == EMPTY else ()
        assert tuple(result.runs) == tuple(phase for phase in PHASES if phase not in (*without, *again))
        assert all(run.seconds > 0 for run in result.runs.values())
        assert result.peak_mb > 50, "the engine and the language host alone take more"


def test_a_second_preview_without_changes_says_so(results: dict[str, Rehearsed]) -> None:
    for stack in COMPUTED:
        text = results[stack].runs["second preview"].text
        assert "unchanged" in text and "to create" not in text and "to update" not in text


def test_no_provider_is_taken_for_another_version_than_the_sdks(results: dict[str, Rehearsed]) -> None:
    assert results["small-gcp"].warnings == ["the reader has no key"]
    assert results["small-aws"].warnings == results["small-global"].warnings == []


def test_ten_creations_are_refused_over_the_stacks_and_each_is_made_by_a_later_up(
    results: dict[str, Rehearsed],
) -> None:
    assert sum(results[stack].refusals for stack in COMPUTED) >= REFUSALS
    for stack in COMPUTED:
        assert results[stack].runs["refused up"].text.count("rehearsal rule refused-position") >= 1
        assert "unchanged" in results[stack].runs["last preview"].text


def test_a_bucket_with_objects_is_refused_with_the_clouds_error(results: dict[str, Rehearsed]) -> None:
    told = results["small-gcp"].runs[WITH_DATA].text
    assert "The bucket you tried to delete is not empty" in told and "gcp-bucket-is-empty" in told


def test_the_rules_that_concern_a_stack_say_what_they_judged(results: dict[str, Rehearsed]) -> None:
    judged = {rule: len(urns) for rule, urns in results["small-aws"].judged.items()}
    assert judged["aws-offered-in-every-zone"] == 1 and judged["aws-role-has-its-policies"] == 2
    assert judged["kubernetes-namespace-exists"] == 2
    assert "gcp-identity-pool-exists" not in judged
