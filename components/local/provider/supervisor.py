"""One supervisord and its programs, addressed by the folder it lives in.

The folder holds everything: configuration, one file per program, logs and the control socket. State names
programs, never process ids: those change with every restart and could belong to someone else tomorrow.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from components.local.provider import daemon
from components.local.provider.control import SECONDS, Control
from components.local.provider.lifecycle import ResourceError
from components.local.provider.programs import Header, Program, header, header_of, render, stop_seconds

CHANGES = threading.RLock()
"""The configuration of a supervisor is read, changed and reloaded by one thread at a time."""


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
            daemon.start(self.folder)
            self._remove(program.name)
            self.log(program.name).unlink(missing_ok=True)
            self._add(program.name, render(program, self.root))

    def stop(self, name: str) -> None:
        """Stops a program and forgets it."""
        with CHANGES:
            self._remove(name)

    def kill(self, name: str) -> None:
        """Ends a program that hangs, with SIGKILL, and forgets it."""
        with CHANGES:
            with self.control.connection() as rpc:
                if rpc is not None:
                    with contextlib.suppress(xmlrpc.client.Fault):  # it ended by itself
                        rpc.signalProcess(name, "KILL")
            self._remove(name)

    def shut_down_if_idle(self) -> None:
        """Ends supervisord when no program is left."""
        with CHANGES:
            if not self.definitions():
                self.shut_down()

    def shut_down(self) -> None:
        """Stops all programs and supervisord, and removes the folder."""
        if not self.folder.exists():
            return
        with CHANGES, daemon.alone(self.folder):
            (self.folder / daemon.ENDING).touch()
            with self.control.connection() as rpc:
                if rpc is not None:
                    pid = rpc.getPID()
                    rpc.shutdown()
                    slowest = max(map(stop_seconds, self.definitions().values()), default=0)
                    self.control.wait_gone(pid, self.control.seconds + slowest)
            shutil.rmtree(self.folder, ignore_errors=True)

    def definitions(self) -> dict[str, str]:
        """Program -> its stored definition, which `restore` takes."""
        return {conf.stem: conf.read_text() for conf in (self.folder / "programs").glob("*.conf")}

    def headers(self) -> dict[str, Header]:
        """Program -> header of its stored definition."""
        return {name: header(definition) for name, definition in self.definitions().items()}

    def restore(self, name: str, definition: str) -> None:
        """Puts a program back as it was."""
        with CHANGES:
            daemon.start(self.folder)
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
        seconds = stop_seconds(self.definitions().get(name, ""))
        with self.control.connection(seconds) as rpc:
            if rpc is not None and name in {info["group"] for info in rpc.getAllProcessInfo()}:
                with contextlib.suppress(xmlrpc.client.Fault):  # it ended by itself, or is ending
                    rpc.stopProcessGroup(name)
                self._forget(rpc, name, self.control.seconds + seconds)
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

    def _conf(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.conf"

    def _revision(self, name: str) -> str:
        found = header_of(self._conf(name))
        return found.revision if found else ""
