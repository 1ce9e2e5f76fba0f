"""The checks before a set-up: each fails where its thing is missing, and says the cure."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import prerequisites
from tools.paths import ROOT


def doctor(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True)


def test_a_machine_without_the_programs_fails_with_the_package_to_install(tmp_path: Path) -> None:
    done = doctor(PATH=str(tmp_path))
    assert done.returncode == 1
    for name, package in (("git", "git"), ("make", "make"), ("setpriv", "util-linux")):
        assert f"FAIL  {name}: not on PATH" in done.stdout
        assert f"cure: apt-get install {package}" in done.stdout


def test_a_machine_without_curl_gets_a_note_and_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in prerequisites.optional()}["curl"]
    assert not found.ok and not found.required
    assert found.line().startswith("note  curl: not on PATH") and "apt-get install curl" in found.line()


def test_a_machine_that_lets_nobody_make_a_namespace_gets_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2; exit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in prerequisites.optional()}["namespaces"]
    assert not found.ok and not found.required
    assert found.line().startswith("note  namespaces: unshare failed: Operation not permitted")
    assert "test_full_disk.py" in found.rule


def test_this_machine_passes_every_required_check_in_words_and_as_json() -> None:
    assert doctor().returncode == 0
    told = json.loads(doctor("--json").stdout)
    assert {row["name"] for row in told if row["required"]} >= {
        "platform",
        "python",
        "venv",
        "disk",
        "folder",
    }
    assert all(row["ok"] for row in told if row["required"])


def test_a_python_that_the_locks_do_not_cover_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, ok in (((3, 10, 9), False), ((3, 11, 0), True), ((3, 14, 2), True), ((3, 15, 0), False)):
        monkeypatch.setattr(sys, "version_info", version)
        assert prerequisites.check_python().ok is ok


def test_other_systems_and_old_c_libraries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for system, machine, libc, ok in (
        ("Linux", "x86_64", ("glibc", "2.31"), True),
        ("Linux", "x86_64", ("glibc", "2.30"), False),
        ("Linux", "x86_64", ("", ""), False),
        ("Linux", "riscv64", ("glibc", "2.39"), False),
        ("Darwin", "x86_64", ("", ""), False),
    ):
        monkeypatch.setattr("platform.system", lambda system=system: system)
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("platform.libc_ver", lambda libc=libc: libc)
        assert prerequisites.check_platform().ok is ok, (system, machine, libc)


def test_a_disk_too_small_for_what_is_missing_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prerequisites, "MADE", tmp_path)
    monkeypatch.setitem(prerequisites.DISK_GB, "workloads", 1e9)
    refused = prerequisites.check_disk(("workloads",))
    assert not refused.ok and "GB free" in refused.found
    (tmp_path / "workloads").mkdir()
    assert prerequisites.check_disk(("workloads",)).ok, "what is installed needs no more room"


@pytest.mark.parametrize("name", ["prerequisites", "doctor", "setup", "paths"])
def test_what_runs_first_can_be_read_by_an_old_python_that_must_be_told_what_it_lacks(name: str) -> None:
    text = (ROOT / f"tools/{name}.py").read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
    assert ast.unparse(top[0]) == "from __future__ import annotations"
