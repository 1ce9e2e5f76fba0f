"""A global stack whose regional stacks are not there yet, on the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.engine import ROOT
from cli.rehearsal.plan import plan
from cli.rehearsal.stage import Done, Stage, stage

STACK, REGIONAL = "dev-aws-global", ("dev-aws-us-east-1", "dev-aws-eu-west-1")


@dataclass
class Asked:
    """The global stack on a stage of its own."""

    stage: Stage
    nothing: Path
    config: Path

    def make(self, stack: str) -> None:
        assert self.stage.run(self.nothing, "stack", "init", stack, "--no-select").status == 0

    def preview(self) -> Done:
        return self.stage.run(ROOT, "preview", "--stack", STACK, "--config-file", str(self.config))


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    (tmp_path / "Pulumi.yaml").write_text("name: skerry\nruntime: python\n")
    (file,) = [file for file in plan(ROOT, [STACK]) if file.name == STACK]
    with stage() as made:
        config = made.folder / "global.yaml"
        config.write_text(file.copy())
        ready = Asked(made, tmp_path, config)
        ready.make(STACK)
        yield ready


def test_a_regional_stack_that_is_missing_is_named_with_the_command_to_run(asked: Asked) -> None:
    done = asked.preview()
    assert done.status != 0
    assert any(f"stack '{name}' cannot be read" in done.text for name in REGIONAL)
    assert any(f"./skerry up --stack {name}" in done.text for name in REGIONAL)


def test_a_regional_stack_without_outputs_is_named_with_the_command_to_run(asked: Asked) -> None:
    for name in REGIONAL:
        asked.make(name)
    done = asked.preview()
    assert done.status != 0
    assert any(f"of stack '{name}', which has none yet" in done.text for name in REGIONAL)
    assert any(f"./skerry up --stack {name}" in done.text for name in REGIONAL)


def test_an_unresolved_fact_is_previewed_with_a_warning_and_refused_by_up(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: skerry\nruntime: python\n")
    name = REGIONAL[0]
    (file,) = plan(ROOT, [name])
    with stage() as made:
        real = Stage(
            made.folder, {key: value for key, value in made.environment.items() if key != "SKERRY_REHEARSAL"}
        )
        config = made.folder / "regional.yaml"
        config.write_text(file.copy())
        assert real.run(tmp_path, "stack", "init", name, "--no-select").status == 0
        words = ("--stack", name, "--config-file", str(config))
        planned = real.run(ROOT, "preview", *words)
        made_nothing = real.run(ROOT, "up", "--yes", "--skip-preview", *words)
        exported = real.read(ROOT, "stack", "export", "--stack", name)
    assert planned.status == 0 and "unresolved: target.images.gateway" in planned.text
    assert made_nothing.status != 0 and "unresolved: target.images.gateway" in made_nothing.text
    assert "`./skerry rehearse` work without" in made_nothing.text
    kinds = {entry["type"] for entry in exported["deployment"].get("resources") or []}
    assert kinds <= {"pulumi:pulumi:Stack"}
