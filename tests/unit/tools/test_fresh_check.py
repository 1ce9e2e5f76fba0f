"""What `make fresh-check` itself relies on (the check as a whole takes half an hour)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.loopback import executable
from tools import fresh_check


def test_a_process_left_running_in_the_clone_is_found_by_its_command(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    try:
        found = fresh_check.processes_of(os.getuid(), tmp_path)
        assert list(found) == [left.pid] and "time.sleep(60)" in found[left.pid]
        assert left.pid in fresh_check.processes_of(os.getuid())
        assert fresh_check.processes_of(os.getuid(), tmp_path / "elsewhere") == {}
    finally:
        left.kill()
        left.wait()


def test_a_go_that_a_newcomer_could_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "go", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 0)
    tmp_path.chmod(0o700)
    with pytest.raises(SystemExit, match="closed to other users"):
        fresh_check.path_with_go(True)


def test_the_run_without_go_has_none_on_its_path() -> None:
    path = fresh_check.path_with_go(False)
    assert not [folder for folder in path.split(":") if (Path(folder) / "go").exists()]


def test_nothing_of_the_callers_clouds_or_pulumi_is_carried_along() -> None:
    assert not [
        name for name in fresh_check.CARRIED if name.startswith(("AWS", "GOOGLE", "PULUMI", "SKERRY"))
    ]
