"""A copy of the project with a state, ports and home of its own, used as a user would use a clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from components.local.layout import PORTS_PER_REGION, region_port
from tests.local.plugin import ROOT
from tests.ports import free_port
from tests.waiting import HANG_SECONDS

KEPT = ("PATH", "LANG", "TERM")
REGIONS = ("east", "west")


@dataclass(frozen=True)
class Clone:
    """Commands and requests, from the clone's root."""

    root: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a fresh user's shell would hold: nothing of the caller's Pulumi, clouds or tests."""
        return {
            **{key: os.environ[key] for key in KEPT if key in os.environ},
            "HOME": str(self.root.parent / "home"),
            "TMPDIR": str(self.temporary),
            "PULUMI_HOME": str(self.root.parent / "home" / ".pulumi"),
            "PULUMI_ERROR_OUTPUT_STRING": "1",
        }

    @property
    def temporary(self) -> Path:
        """Where programs put temporary files."""
        return self.root.parent / "tmp"

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    def up(self) -> None:
        done = self.run("./skerry", "up")
        assert done.returncode == 0, done.stdout + done.stderr

    def outputs(self) -> Any:
        done = self.run("./skerry", "outputs")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def changes(self) -> str:
        """What a preview would change; empty when nothing."""
        done = self.shell("pulumi preview --expect-no-changes")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script in a shell that has taken what `./skerry env` hands out."""
        return self.run("bash", "-c", f'set -e; set -o pipefail; eval "$(./skerry env)"; {script}')

    @property
    def stack_file(self) -> Path:
        return self.root / "stacks" / "Pulumi.local.yaml"

    def settings(self) -> Any:
        return yaml.safe_load(self.stack_file.read_text())["config"]["skerry:stack"]

    def declare(self, settings: Mapping[str, Any]) -> None:
        """Writes other settings into the stack file."""
        content = yaml.safe_load(self.stack_file.read_text())
        content["config"]["skerry:stack"] = settings
        self.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))

    def ask(self, path: str, body: Any = None, port: int | None = None) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON and headers of an answer through the global address, or another port's."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:
                return answer.status, json.loads(answer.read() or b"null"), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null"), dict(error.headers)

    def chat(self, question: str) -> tuple[str, str]:
        """The assistant's answer, and the region that gave it."""
        body = {
            "model": "assistant",
            "temperature": 0,
            "messages": [{"role": "user", "content": question}],
        }
        status, answer, headers = self.ask("/v1/chat/completions", body)
        assert status == 200, answer
        return answer["choices"][0]["message"]["content"], headers["x-skerry-region"]

    def complete(
        self, prompt: str, port: int | None = None, tokens: int = 8
    ) -> tuple[int, Any, Mapping[str, str]]:
        """A short completion by the model that this stack trained, through the global address or another port's."""
        body = {"model": "coder", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        return self.ask("/v1/completions", body, port)

    def processes(self) -> list[psutil.Process]:
        """Every process that works in the clone or was started from it."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                if str(self.root) in words or Path(process.cwd()).is_relative_to(self.root):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def listening(self) -> set[tuple[str, int]]:
        """Address and port of everything in the clone that listens."""
        return {
            (connection.laddr.ip, connection.laddr.port)
            for process in self.processes()
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }

    def region_processes(self, region: str) -> list[psutil.Process]:
        """A region's supervisor and everything under it."""
        pid_file = self.root / ".skerry" / "run" / f"region-{region}" / "supervisord.pid"
        supervisor = psutil.Process(int(pid_file.read_text()))
        return [supervisor, *supervisor.children(recursive=True)]

    def region_port(self, region: str) -> int:
        return region_port(self.port, REGIONS.index(region))


def make_clone(folder: Path) -> Clone:
    """Copies what git tracks or would track; the environments of the project are shared, nothing else."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    root = folder / "skérry clone"  # a path that must be quoted in a URI
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / ".tools").symlink_to(ROOT / ".tools")
    clone = Clone(root, free_port(3 * PORTS_PER_REGION))
    (folder / "home").mkdir()
    clone.temporary.mkdir()
    settings = clone.settings()
    settings["target"] |= {"port": clone.port, "ready_seconds": HANG_SECONDS}
    clone.declare(settings)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    return clone
