"""`make clean` never removes the state of a stack that is up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.clean import clean


def state(root: Path, resources: list[dict[str, str]]) -> None:
    file = root / ".skerry/state/.pulumi/stacks/skerry/local.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources}}}))
    (root / ".tools").mkdir(exist_ok=True)


def test_a_stack_that_is_up_is_named_with_the_remedy_and_nothing_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state(tmp_path, [{"urn": "a"}])
    assert clean(tmp_path) == 1
    told = capsys.readouterr().err
    assert "still up: local" in told and "make down" in told
    assert (tmp_path / ".tools").exists() and (tmp_path / ".skerry").exists()


def test_a_state_that_cannot_be_read_counts_as_up(tmp_path: Path) -> None:
    state(tmp_path, [])
    (tmp_path / ".skerry/state/.pulumi/stacks/skerry/local.json").write_text('{"version": 3, "check')
    assert clean(tmp_path) == 1


def test_with_every_stack_down_both_folders_are_removed(tmp_path: Path) -> None:
    state(tmp_path, [])
    assert clean(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
