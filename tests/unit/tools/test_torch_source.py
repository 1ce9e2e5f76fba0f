"""The CPU build of torch is taken where the user's index has it, and held to the hash it states."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.loopback import Site, offer
from tools import environments, torch_source
from tools.paths import ROOT
from tools.problem import Problem

LOCK = ROOT / environments.TORCH
VERSION = torch_source.locked_version(LOCK)


@pytest.fixture(autouse=True)
def _index(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's pip asks the loopback index and nothing else."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def test_an_index_with_the_cpu_build_is_taken_with_its_hash_and_says_whose_hash_it_is(
    site: Site, venv: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    digest = offer(site, "torch", f"{VERSION}+cpu")
    environments.install(venv, ROOT, environments.WORKLOADS.steps[0])
    code = "import importlib.metadata as m; print(m.version('torch'))"
    told = subprocess.run([str(venv / "bin/python"), "-c", code], capture_output=True, text=True)
    assert told.stdout.strip() == f"{VERSION}+cpu"
    said = capfd.readouterr().err
    assert f"your index offers torch {VERSION}+cpu" in said
    assert f"sha256:{digest} is your index's, not from our lock" in said
    assert not [path for path in site.asked if "nvidia" in path], "the CUDA libraries were asked for"


def test_an_index_without_the_cpu_build_leaves_the_locked_one(site: Site) -> None:
    offer(site, "torch", VERSION)
    python = Path(sys.executable)
    assert torch_source.find_cpu_build(python, VERSION, environments.pip_environment()) is None


def test_the_cpu_build_of_another_version_is_not_taken(site: Site) -> None:
    offer(site, "torch", "1.0.0+cpu")
    python = Path(sys.executable)
    assert torch_source.find_cpu_build(python, VERSION, environments.pip_environment()) is None


def test_a_cpu_build_that_is_not_what_its_index_states_is_refused(site: Site) -> None:
    offer(site, "torch", f"{VERSION}+cpu", stated="0" * 64)
    with pytest.raises(Problem, match="does not have the hash it states") as caught:
        torch_source.find_cpu_build(Path(sys.executable), VERSION, environments.pip_environment())
    assert "repair that index" in caught.value.remedy


def test_a_cpu_build_exchanged_between_question_and_download_is_refused(
    site: Site, venv: Path, tmp_path: Path
) -> None:
    digest = offer(site, "torch", f"{VERSION}+cpu")
    build = torch_source.find_cpu_build(Path(sys.executable), VERSION, environments.pip_environment())
    assert build is not None and build.sha256 == digest
    site.pages.clear()
    other = offer(site, "torch", f"{VERSION}+cpu", body="raise SystemExit('not torch')\n")
    assert other != digest
    subprocess.run([str(venv / "bin/python"), "-m", "pip", "uninstall", "-qy", "torch"], check=True)
    (tmp_path / "torch.txt").write_text(build.requirement())
    with pytest.raises(Problem, match=r"pip could not install torch.txt"):
        environments.install(venv, tmp_path, environments.Step("torch.txt", "torch", 1))
