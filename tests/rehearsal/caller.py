"""Somebody who rehearses: with a login, credentials and a temporary folder of their own, all of which are watched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.waiting import HANG_SECONDS
from tools import processes
from tools.paths import ROOT, TOOLKIT

PROJECT = Path(__file__).parent / "project"
CREDENTIALS = {
    "AWS_PROFILE": "mine",
    "AWS_SECRET_ACCESS_KEY": "mine",
    "CLOUDSDK_CORE_PROJECT": "mine",
    "GOOGLE_APPLICATION_CREDENTIALS": "mine",
    "KUBECONFIG": "mine",
    "PULUMI_ACCESS_TOKEN": "mine",
    "PULUMI_CONFIG_PASSPHRASE": "mine",
    "PULUMI_STACK": "mine",
}
HEEDING = ("env", "--default-signal=INT,TERM,HUP")
"""As on a terminal: whoever runs the tests in the background may have had these ignored."""


@dataclass(frozen=True)
class Caller:
    """Commands of one user."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **CREDENTIALS,
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PULUMI_HOME": str(self.home / ".pulumi"),
            "PULUMI_BACKEND_URL": (self.home / "state").as_uri(),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
        }

    def begin(self, project: Path, *arguments: str) -> subprocess.Popen[str]:
        """A rehearsal that goes on."""
        return subprocess.Popen(
            [*HEEDING, sys.executable, "-P", "-m", "cli", "rehearse", "--project", str(project), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def rehearse(self, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A rehearsal that is waited for."""
        with self.begin(project, *arguments) as process:
            printed, told = process.communicate(timeout=HANG_SECONDS)
            return subprocess.CompletedProcess(process.args, process.returncode, printed, told)

    def left(self) -> tuple[list[str], dict[int, str]]:
        """What lies in the temporary folder, and the processes that have to do with it."""
        return sorted(os.listdir(self.temporary)), processes.found(inside=self.temporary)

    def own_files(self) -> dict[str, bytes]:
        """Everything in the home, by path."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return {path.relative_to(self.home).as_posix(): path.read_bytes() for path in files}


def make_caller(folder: Path) -> Caller:
    """A user who is logged in to a backend in their home."""
    caller = Caller(folder)
    for made in (caller.temporary, caller.home / "state", caller.home / ".pulumi"):
        made.mkdir(parents=True)
    (caller.home / ".pulumi" / "credentials.json").write_text('{"current": "https://mine.example.com"}')
    return caller


def make_project(folder: Path, **stacks: dict[str, Any]) -> Path:
    """A copy of the small project with other stack files, given by their settings."""
    (folder / "stacks").mkdir(parents=True)
    shutil.copy(PROJECT / "__main__.py", folder)
    content = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())
    content["runtime"]["options"]["virtualenv"] = str(TOOLKIT)
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(content))
    for name, settings in stacks.items():
        config = {"pulumi:disable-default-providers": ["*"], "skerry:stack": settings}
        (folder / "stacks" / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump({"config": config}))
    return folder


def faulty(kind: str, **more: str) -> dict[str, Any]:
    """Settings of a stack that provokes a fault."""
    return {"target": {"name": "faulty"}, "fault": {"kind": kind, **more}}
