"""Locks that killed runs left, and what a destroyed stack leaves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from cli import stack


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    monkeypatch.setattr(stack, "STATE", tmp_path / ".skerry" / "state")
    return tmp_path


def lock(root: Path, pid: int, host: str) -> Path:
    path = root / ".skerry/state/.pulumi/locks/organization/skerry/local/one.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": pid, "hostname": host}))
    return path


def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_lock_of_a_killed_run_is_taken_away(root: Path) -> None:
    path = lock(root, ended_pid(), socket.gethostname())
    stack._unlock("local")
    assert not path.exists()


def test_the_lock_of_a_process_that_is_no_engine_is_taken_away(root: Path) -> None:
    path = lock(root, os.getpid(), socket.gethostname())
    stack._unlock("local")
    assert not path.exists()


def test_the_lock_of_another_machine_is_left(root: Path) -> None:
    path = lock(root, ended_pid(), "elsewhere")
    stack._unlock("local")
    assert path.exists()


def test_a_sweep_removes_everything_but_the_state(root: Path) -> None:
    (root / ".skerry/state").mkdir(parents=True)
    (root / ".skerry/state/kept").touch()
    for left in (
        "etc/east/.clusters.json.x1",
        "tiers/east/hot/models/coder/abc/file",
        "failed/log",
        "provider.lock",
    ):
        (root / ".skerry" / left).parent.mkdir(parents=True, exist_ok=True)
        (root / ".skerry" / left).touch()
    stack.sweep("local")
    assert [path.name for path in (root / ".skerry").iterdir()] == ["state"]
    assert (root / ".skerry/state/kept").exists()


def test_a_sweep_touches_nothing_of_another_stack(root: Path) -> None:
    (root / ".skerry/tiers").mkdir(parents=True)
    stack.sweep("prod")
    assert (root / ".skerry/tiers").exists()
