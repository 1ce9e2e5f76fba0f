"""A state that cannot be read names what restores it; the past is pruned; two runs take turns."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli import stack
from cli.engine import EngineError
from cli.state_file import KEPT, prune, unchanged_resources
from tests.waiting import HANG_SECONDS
from tools.paths import ROOT

SOUND = json.dumps({"version": 3, "checkpoint": {"stack": "local", "latest": None}})
BROKEN = {"cut in half": SOUND[: len(SOUND) // 2], "empty": "", "no state": "{}"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    monkeypatch.setattr(stack, "STATE", tmp_path / "a state")
    return tmp_path / "a state"


def write(state: Path, name: str, content: str) -> Path:
    file = state / ".pulumi" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def refusal() -> str:
    with pytest.raises(EngineError) as caught:
        stack._forget_pending("local")
    return str(caught.value)


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_the_command_of_the_refusal_restores_a_broken_state_from_the_backup_beside_it(
    state: Path, content: str
) -> None:
    file = write(state, "stacks/skerry/local.json", content)
    backup = write(state, "stacks/skerry/local.json.bak", SOUND)
    told = refusal()
    assert str(file) in told and str(backup) in told
    subprocess.run(shlex.split(told.partition("To restore it: ")[2]), check=True)
    assert file.read_text() == SOUND
    stack._forget_pending("local")


def test_a_backup_that_is_broken_too_is_passed_over(state: Path) -> None:
    write(state, "stacks/skerry/local.json", "")
    write(state, "stacks/skerry/local.json.bak", "{}")
    write(state, "backups/skerry/local/local.1700000000000000001.json", SOUND)
    newest = write(state, "backups/skerry/local/local.1700000000000000002.json", SOUND)
    assert f"newest readable backup is {newest}." in refusal()


def test_without_a_backup_the_refusal_says_how_to_begin_anew(state: Path) -> None:
    file = write(state, "stacks/skerry/local.json", "")
    assert f"rm '{file}', then `./skerry down`" in refusal()


def test_backups_and_history_of_all_but_the_newest_updates_are_removed(state: Path) -> None:
    for moment in range(10**18, 10**18 + KEPT + 5):
        write(state, f"backups/skerry/local/local.{moment}.json", SOUND)
        write(state, f"backups/skerry/local/local.{moment}.json.attrs", "{}")
        write(state, f"history/skerry/local/local-{moment}.history.json", "{}")
        write(state, f"history/skerry/local/local-{moment}.checkpoint.json", SOUND)
    prune(state, "skerry", "local")
    for kind, each in (("backups", 2), ("history", 2)):
        left = sorted(file.name for file in (state / ".pulumi" / kind / "skerry" / "local").iterdir())
        assert len(left) == KEPT * each
        assert str(10**18 + 5) in left[0] and str(10**18 + KEPT + 4) in left[-1]


@pytest.mark.parametrize(("changes", "unchanged"), [({"same": 7}, 7), ({"same": 7, "update": 1}, 0), ({}, 0)])
def test_an_update_that_changed_nothing_is_told_from_one_that_did(
    state: Path, changes: dict[str, int], unchanged: int
) -> None:
    write(
        state,
        f"history/skerry/local/local-{10**18}.history.json",
        json.dumps({"resourceChanges": {"create": 1}}),
    )
    last = {"kind": "update", "resourceChanges": changes}
    write(state, f"history/skerry/local/local-{10**18 + 1}.history.json", json.dumps(last))
    assert unchanged_resources(state, "skerry", "local") == unchanged


TAKE = "import sys; from pathlib import Path; from cli import turn; "
TAKE += "turn.take(Path(sys.argv[1])); print('mine', flush=True)"


def run(state: Path, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(state)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_run_says_who_has_the_turn_and_since_when_and_waits(state: Path) -> None:
    with run(state, f"{TAKE}; sys.stdin.read()") as first:
        assert first.stdout and first.stdout.readline() == "mine\n"
        with run(state, TAKE) as second:
            assert second.stderr
            told = second.stderr.readline()
            assert f"waiting for another run on this stack (pid {first.pid}, since " in told
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(timeout=0.5)
            first.kill()  # also a run that is killed gives its turn back
            assert second.communicate(timeout=HANG_SECONDS)[0] == "mine\n"
