"""Every stack file of a cloud, from preview to destroy on the real engine."""

from __future__ import annotations

import re

import pytest

from cli.engine import ROOT
from cli.rehearsal import REFUSALS
from cli.rehearsal.phases import DOWN, PHASES, UP, WITH_DATA, Rehearsed
from cli.rehearsal.plan import cloud_stacks, plan
from cli.rehearsal.play import rehearse
from cli.rehearsal.stage import stage

STACKS = cloud_stacks(ROOT)
GUIDE = ROOT / "docs" / "how-to" / "rehearse.md"


@pytest.fixture(scope="module")
def results() -> dict[str, Rehearsed]:
    with stage() as made:
        return {result.stack: result for result in rehearse(made, ROOT, plan(ROOT, STACKS))}


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_passes_every_phase_of_a_rehearsal(results: dict[str, Rehearsed], stack: str) -> None:
    holds_data = any(kind.endswith("bucket:Bucket") for kind in results[stack].types)
    assert tuple(results[stack].runs) == tuple(phase for phase in PHASES if holds_data or phase != WITH_DATA)
    assert holds_data == ("global" not in stack)
    assert results[stack].refusals * len(STACKS) >= REFUSALS


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_is_planned_before_anything_is_known_and_made_as_planned(
    results: dict[str, Rehearsed], stack: str
) -> None:
    runs = results[stack].runs
    planned, made, again = (runs[phase].text for phase in UP)
    count = re.search(r"\+ (\d+) to create\n", planned)
    assert count and f"+ {count[1]} created\n" in made
    assert f"  {count[1]} unchanged\n" in again
    (gone,) = (runs[phase].text for phase in DOWN)
    assert "The resources in the stack have been deleted" in gone
    # A destroy with data took most of the others before.
    assert WITH_DATA in runs or f"- {count[1]} deleted\n" in gone
    assert results[stack].types.total() > 1, "more than a provider"


def test_the_guide_rehearses_stacks_that_exist() -> None:
    commands = re.findall(r"^\./skerry rehearse (.+)$", GUIDE.read_text(), re.MULTILINE)
    named = [name for command in commands for name in command.split() if not name.startswith("--")]
    assert named and plan(ROOT, named)
