"""The language host under the real engine: a program's end, its mistakes, and the engine's own end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.waiting import HANG_SECONDS, until
from tools import engine
from tools.paths import ROOT

PROGRAM = """
import os, sys, time
import pulumi
import components
kind = os.environ["KIND"]
if kind == "mistake":
    raise pulumi.RunError("replicas: -1 given; the rule is >= 0; set it to 1")
if kind == "bug":
    {}["missing"]
if kind == "hang":
    print("hanging", flush=True)
    time.sleep(6000)
pulumi.export("name", __name__)
pulumi.export("folder", os.getcwd())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a stack on a state of its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "state").mkdir()
    real = shutil.which("pulumi", path=os.pathsep.join([*map(str, engine.engine_path()), os.environ["PATH"]]))
    assert real
    (folder / "bin").mkdir()
    (folder / "bin/pulumi").symlink_to(real)
    (folder / "bin/pulumi-language-python").symlink_to(ROOT / "tools/language_host/pulumi-language-python")
    made = pulumi(folder, "stack", "init", "dev")
    assert made.returncode == 0, made.stderr
    return folder


def environment(folder: Path, kind: str) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "PATH": f"{folder}/bin:/usr/bin:/bin",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "KIND": kind,
    }


def pulumi(folder: Path, *words: str, kind: str = "good") -> subprocess.CompletedProcess[str]:
    command = ["pulumi", *words, "--color", "never", "--non-interactive"]
    env = environment(folder, kind)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=HANG_SECONDS)


def test_a_program_runs_as_main_in_its_own_folder_and_sees_the_toolkits_packages(project: Path) -> None:
    done = pulumi(project, "up", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"__main__"' in done.stdout and f'"{project}"' in done.stdout


def test_a_mistake_in_settings_is_told_once_and_without_a_traceback(project: Path) -> None:
    done = pulumi(project, "preview", kind="mistake")
    assert done.returncode != 0
    diagnostics = done.stdout.split("Diagnostics:")[1]
    assert diagnostics.count("replicas: -1 given; the rule is >= 0; set it to 1") == 1
    assert "Traceback" not in done.stdout and "unhandled" not in done.stdout


def test_a_bug_is_told_from_the_programs_own_line_on(project: Path) -> None:
    done = pulumi(project, "preview", kind="bug")
    assert done.returncode != 0
    diagnostics = done.stdout.split("Diagnostics:")[1]
    assert "KeyError: 'missing'" in diagnostics and f'"{project}/__main__.py", line 9' in diagnostics
    assert "runpy" not in diagnostics and "_server.py" not in diagnostics


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_host_ends_with_an_engine_that_is_killed_or_interrupted(
    project: Path, end: signal.Signals
) -> None:
    command = ["pulumi", "preview", "--color", "never", "--non-interactive"]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment(project, "hang"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout
        for line in running.stdout:
            if "hanging" in line:
                break
        below = psutil.Process(running.pid).children(recursive=True)
        hosts = [child for child in below if "host.py" in " ".join(child.cmdline())]
        assert hosts, "no language host was found below the engine"
        os.killpg(running.pid, end)
        running.stdout.read()
    until(lambda: not any(host.is_running() and host.status() != psutil.STATUS_ZOMBIE for host in hosts))
