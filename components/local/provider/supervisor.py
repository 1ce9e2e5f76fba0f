"""One supervisord and its programs, addressed by the folder it lives in.

The folder holds everything: configuration, one file per program, logs and the control socket. State names
programs, never process ids: those change with every restart and could belong to someone else tomorrow.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from components.local.provider.control import SECONDS, Control
from components.local.provider.lifecycle import ResourceError

# supervisord makes paths absolute, and a socket's may hold 107 bytes; through its working directory, which stays
# the folder, a clone may lie as deep as it likes.
SETTINGS = """\
[supervisord]
logfile = supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = supervisord.pid
umask = 077
[unix_http_server]
file = /proc/self/cwd/control.sock
chmod = 0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = programs/*.conf
"""

# A program that ends sooner than this after its start is retried with growing pauses, then given up.
START_SECONDS = 5
START_RETRIES = 3
START_WAIT_SECONDS = 30
# Exit status of a program that must not be started again: what it was given is refused for good.
REFUSED = 3

CHANGES = threading.RLock()
"""The configuration of a supervisor is read, changed and reloaded by one thread at a time."""


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    stop_seconds: int
    """Seconds between SIGTERM and SIGKILL when it is stopped."""
    revision: str
    """Digest of everything above: equal revisions need no restart."""


@dataclass(frozen=True)
class Status:
    """What supervisord says of one program."""

    state: str
    exit_status: int
    pid: int
    """0 when it is not running."""

    @property
    def alive(self) -> bool:
        return self.state in {"STARTING", "RUNNING"}

    @property
    def given_up(self) -> bool:
        return self.state in {"FATAL", "EXITED", "STOPPED"}


class Supervisor:
    """Every method raises `ResourceError` when supervisord hangs or refuses.

    Args:
        folder: where it lives.
        root: working directory of its programs.
        seconds: how long supervisord may take for an answer.
    """

    def __init__(self, folder: Path, root: Path, seconds: float = SECONDS) -> None:
        self.folder = folder
        self.root = root
        self.control = Control(folder, seconds)

    def log(self, name: str) -> Path:
        """Where a program's standard output and error go."""
        return self.folder / "logs" / f"{name}.log"

    def revisions(self) -> dict[str, str]:
        """Program -> revision, for those that are alive."""
        return {name: self._revision(name) for name, status in self.statuses().items() if status.alive}

    def statuses(self) -> dict[str, Status]:
        """Program -> what supervisord says of it; nothing when it is not running."""
        with self.control.connection() as rpc:
            if rpc is None:
                return {}
            return {
                info["name"]: Status(info["statename"], info["exitstatus"], info["pid"])
                for info in rpc.getAllProcessInfo()
            }

    def start(self, program: Program) -> None:
        """Starts a program, in place of one with the same name.

        Raises:
            ResourceError: supervisord cannot be started.
        """
        with CHANGES:
            self._ensure_running()
            self._remove(program.name)
            self.log(program.name).unlink(missing_ok=True)
            self._add(program.name, self._render(program))

    def stop(self, name: str) -> None:
        """Stops a program and forgets it."""
        with CHANGES:
            self._remove(name)

    def shut_down_if_idle(self) -> None:
        """Ends supervisord when no program is left."""
        with CHANGES:
            if not self.definitions():
                self.shut_down()

    def shut_down(self) -> None:
        """Stops all programs and supervisord, and removes the folder."""
        with CHANGES:
            with self.control.connection() as rpc:
                if rpc is not None:
                    pid = rpc.getPID()
                    rpc.shutdown()
                    slowest = max(map(_stop_seconds, self.definitions().values()), default=0)
                    self.control.wait_gone(pid, self.control.seconds + slowest)
            shutil.rmtree(self.folder, ignore_errors=True)

    def definitions(self) -> dict[str, str]:
        """Program -> its stored definition, which `restore` takes."""
        return {conf.stem: conf.read_text() for conf in (self.folder / "programs").glob("*.conf")}

    def restore(self, name: str, definition: str) -> None:
        """Puts a program back as it was."""
        with CHANGES:
            self._ensure_running()
            self._remove(name)
            self._add(name, definition)

    def _add(self, name: str, definition: str) -> None:
        self._conf(name).write_text(definition)
        with self.control.connection() as rpc:
            if rpc is None:
                raise ResourceError(
                    f"The supervisor in {self.folder} ended while {name!r} was being started. "
                    f"Read {self.folder / 'supervisord.log'}, then run `up` again."
                )
            rpc.reloadConfig()
            rpc.addProcessGroup(name)

    def _remove(self, name: str) -> None:
        """Ends whatever supervisord runs under that name. The definition goes last: what is interrupted between is
        found again by it."""
        stop_seconds = _stop_seconds(self.definitions().get(name, ""))
        with self.control.connection(stop_seconds) as rpc:
            if rpc is not None and name in {info["group"] for info in rpc.getAllProcessInfo()}:
                with contextlib.suppress(xmlrpc.client.Fault):  # it ended by itself, or is ending
                    rpc.stopProcessGroup(name)
                self._forget(rpc, name, self.control.seconds + stop_seconds)
        self._conf(name).unlink(missing_ok=True)

    def _forget(self, rpc: Any, name: str, seconds: float) -> None:
        """Removes a program that is stopped, or still stopping because whoever began it was killed."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                rpc.removeProcessGroup(name)
                return
            except xmlrpc.client.Fault as error:
                if error.faultCode != Faults.STILL_RUNNING or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _ensure_running(self) -> None:
        with self.control.connection() as rpc:
            if rpc is not None:
                return
        for part in (self.folder, self.folder / "programs", self.folder / "logs"):
            part.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "supervisord.conf").write_text(SETTINGS)
        try:
            started = subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
                cwd=self.folder,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=START_WAIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._not_started(f"it took longer than {START_WAIT_SECONDS} s") from None
        deadline = time.monotonic() + START_WAIT_SECONDS
        while started.returncode == 0 and time.monotonic() < deadline:
            with self.control.connection() as rpc:
                if rpc is not None:
                    return
            time.sleep(0.05)
        raise self._not_started(started.stderr.strip() or "no answer")

    def _not_started(self, why: str) -> ResourceError:
        return ResourceError(
            f"The supervisor in {self.folder} did not start: {why}. Read {self.folder / 'supervisord.log'}, then "
            "run `up` again."
        )

    def _conf(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.conf"

    def _revision(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            first = self._conf(name).read_text().partition("\n")[0]
            return first.removeprefix("; revision ")
        return ""

    def _render(self, program: Program) -> str:
        # The kernel ends a program when its supervisor dies: no orphan holds a port.
        command = shlex.join(["setpriv", "--pdeathsig", "KILL", "--", *program.command])
        environment = ",".join(
            f"{key}={_quoted(value)}" for key, value in sorted(program.environment.items())
        )
        lines = {
            "command": command,
            "directory": str(self.root),
            "environment": environment,
            "autostart": "true",
            "autorestart": "unexpected",
            "exitcodes": str(REFUSED),
            "startsecs": str(START_SECONDS),
            "startretries": str(START_RETRIES),
            "stopsignal": "TERM",
            "stopwaitsecs": str(program.stop_seconds),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": f"logs/{program.name}.log",
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "1",
        }
        body = "\n".join(f"{key} = {value.replace('%', '%%')}" for key, value in lines.items())
        return f"; revision {program.revision}\n[program:{program.name}]\n{body}\n"


def clean_environment() -> dict[str, str]:
    """What a child inherits: nothing of the caller's credentials, only what finding programs takes."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _stop_seconds(definition: str) -> int:
    """Seconds that a stored definition gives its program between SIGTERM and SIGKILL."""
    found = re.search(r"^stopwaitsecs = (\d+)$", definition, re.MULTILINE)
    return int(found[1]) if found else 0
