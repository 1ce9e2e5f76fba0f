"""Waits for the port of a process that is about to start, and then until it answers."""

from __future__ import annotations

import time
from pathlib import Path

from components.local.provider import ports
from components.local.provider.lifecycle import Context, ResourceError
from components.local.provider.programs import Answer, Program, ask
from components.local.provider.supervisor import CHANGES, Supervisor

LOG_LINES = 15
YIELD_SECONDS = 5
"""How long another set of the same `up` has to leave a port by itself."""


class Readiness:
    """Of the processes of one set.

    Args:
        context: the provider's surroundings.
        supervisor: what runs the processes.
        seconds: how long each may take.
        setting: key path of the setting that the ports follow from, for messages.
    """

    def __init__(self, context: Context, supervisor: Supervisor, seconds: int, setting: str) -> None:
        self.context, self.supervisor = context, supervisor
        self.seconds, self.setting = seconds, setting

    def await_port(self, program: Program) -> None:
        """Waits for a port that another set of the same `up` is about to leave; one that the engine would take away
        only at the end of this `up` is ended here, for the port is declared to be ours."""
        name, port = program.name, program.port
        began = time.monotonic()
        while not ports.is_free(port):
            if time.monotonic() - began > YIELD_SECONDS:
                self._end_holder(port)
            if self.context.cancelled.is_set():
                raise ResourceError(f"{name}: interrupted while waiting for port {port}.")
            if time.monotonic() > began + self.seconds:
                raise ResourceError(
                    f"port {port} on 127.0.0.1 is still in use after {self.seconds} s "
                    f"({ports.describe_holder(port)}), and {name!r} was to listen there. End that process or change "
                    f"{self.setting}."
                )
            time.sleep(0.1)

    def await_ready(self, name: str, port: int, url: str) -> None:
        """Waits until a program answers 200 on a socket of its own.

        Raises:
            ResourceError: it ends, or does not answer in time; the text holds the end of its log.
        """
        began = time.monotonic()
        while True:
            status = self.supervisor.statuses().get(name)
            # Somebody else's answer on that port is none: the socket must be the program's own.
            if (
                status is not None
                and status.alive
                and ask(url) is Answer.READY
                and ports.family_listens(status.pid, port)
            ):
                return
            if self.context.cancelled.is_set():
                raise ResourceError(f"{name}: interrupted before it was ready.")
            if status is None or status.given_up:
                outcome = f"it ended with status {status.exit_status}" if status else "it is gone"
                raise self._not_ready(name, url, outcome)
            if time.monotonic() - began > self.seconds:
                outcome = f"no answer within {self.seconds} s"
                if status.alive and not ports.is_free(port) and not ports.family_listens(status.pid, port):
                    outcome = f"another process listens on port {port} ({ports.describe_holder(port)})"
                raise self._not_ready(name, url, outcome)
            time.sleep(0.1)

    def _end_holder(self, port: int) -> None:
        """Ends the program of this project that listens there; another's process is left alone."""
        with CHANGES:  # so that the other set cannot start the same name anew meanwhile
            process = ports.holder(port)
            found = ports.supervised_as(process, self.context.root / ".skerry" / "run") if process else None
            if found is not None:
                folder, name = found
                Supervisor(folder, self.context.root).stop(name)

    def _not_ready(self, name: str, url: str, outcome: str) -> ResourceError:
        log = self.supervisor.log(name)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        kept = self._keep_log(log)
        return ResourceError(
            f"{self.supervisor.folder.name}/{name} never became ready at {url}: {outcome}. Its log is {kept}; it "
            "ends:\n" + "\n".join(f"    {line}" for line in lines or ["(empty)"])
        )

    def _keep_log(self, log: Path) -> str:
        """Copies a failed program's log out of the folder that is about to be cleaned up."""
        kept = self.context.root / ".skerry" / "failed" / f"{log.parent.parent.name}-{log.name}"
        if log.exists():
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept.write_bytes(log.read_bytes())
        return str(kept.relative_to(self.context.root))
