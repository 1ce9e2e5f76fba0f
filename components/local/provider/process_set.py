"""`ProcessSet`: N supervised processes of one kind, each waited for until it answers.

An update touches one process at a time and only those whose definition changed: the others keep their pid.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import urllib.error
import urllib.request
from typing import Any

from components.local.provider import ports
from components.local.provider.lifecycle import Change, Context, ResourceError
from components.local.provider.supervisor import CHANGES, Program, Supervisor
from components.local.provider.values import UNKNOWN, Properties, has_unknown

INPUTS = (
    "supervisor",
    "program",
    "command",
    "environment",
    "replicas",
    "port",
    "portSetting",
    "readyPath",
    "readySeconds",
    "stopSeconds",
)
LOG_LINES = 15
YIELD_SECONDS = 5
"""How long another set of the same `up` has to leave a port by itself."""
LOOKS = 5
"""A port may change hands between two looks while another set is being updated: one look proves nothing."""


class ProcessSetLifecycle:
    def __init__(self, context: Context) -> None:
        self.context = context

    def check(self, inputs: Properties, state: Properties | None) -> tuple[Properties, dict[str, str]]:
        refusals: dict[str, str] = {}
        replicas, port = inputs.get("replicas"), inputs.get("port")
        if isinstance(replicas, int) and replicas < 0:
            refusals["replicas"] = f"replicas: {replicas}. Must be 0 or more."
        elif isinstance(replicas, int) and isinstance(port, int):
            taken = [number for number in range(port, port + replicas) if self._foreign(number)]
            if taken:
                refusals["port"] = (
                    f"port {taken[0]} on 127.0.0.1 is in use by another process ({ports.describe_holder(taken[0])}), "
                    f"and {inputs['program']!r} was to listen there. End that process or change "
                    f"{inputs.get('portSetting', 'port')}."
                )
        return inputs, refusals

    def diff(self, state: Properties, inputs: Properties) -> Change:
        changed = [key for key in INPUTS if state.get(key) != inputs.get(key)]
        if not changed and state.get("running") != self._wanted(inputs):
            changed.append("running")
        return Change(
            tuple(changed),
            tuple(key for key in changed if key in {"supervisor", "program"}),
        )

    def preview(self, state: Properties | None, inputs: Properties) -> Properties:
        running = UNKNOWN if has_unknown(inputs) else self._wanted(inputs)
        return {**{key: inputs.get(key) for key in INPUTS}, "running": running}

    def create(self, urn: str, inputs: Properties) -> tuple[str, Properties]:
        return f"{inputs['supervisor']}/{inputs['program']}", self._apply(urn, {}, inputs)

    def read(self, state: Properties) -> Properties | None:
        revisions = self._supervisor(state).revisions()
        mine = {name: revisions[name] for name in self._mine(state["program"], revisions)}
        return {**state, "running": mine}

    def update(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        return self._apply(urn, state, inputs)

    def delete(self, state: Properties) -> None:
        supervisor = self._supervisor(state)
        for name in self._mine(state["program"], supervisor.definitions()):
            supervisor.stop(name)
        supervisor.shut_down_if_idle()

    def _apply(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        """Brings every process to its wanted definition, one at a time; on failure puts back what was there."""
        supervisor = self._supervisor(inputs)
        before = supervisor.definitions()
        mine = self._mine(inputs["program"], before)
        alive = supervisor.revisions()
        programs = self._programs(inputs)
        touched: list[str] = []
        try:
            for name, program in programs.items():
                if alive.get(name) != program.revision:
                    self.context.report(urn, f"starting {name}")
                    touched.append(name)
                    supervisor.stop(name)
                    self._await_port(name, inputs)
                    supervisor.start(program)
                self._await_ready(supervisor, name, inputs)
        except Exception as error:
            undone = self._put_back(supervisor, {name: before.get(name) for name in touched}, state or inputs)
            if not isinstance(error, (ResourceError, OSError)):
                raise
            raise ResourceError("\n".join([str(error), *undone])) from None
        for name in mine:
            if name not in programs:
                supervisor.stop(name)
        return {
            **{key: inputs.get(key) for key in INPUTS},
            "running": {name: program.revision for name, program in programs.items()},
        }

    def _put_back(
        self, supervisor: Supervisor, before: dict[str, str | None], earlier: Properties
    ) -> list[str]:
        """Tells what became of each program. What fails here is told after the first failure, never instead of it."""
        told = []
        for name, definition in before.items():
            try:
                if definition is None:
                    supervisor.stop(name)
                    told.append(f"{name} was stopped again.")
                else:
                    supervisor.restore(name, definition)
                    told.append(f"{name} was put back as it was before.")
                    # What was there may have been broken before.
                    with contextlib.suppress(ResourceError):
                        self._await_ready(supervisor, name, earlier)
            except (ResourceError, OSError) as error:
                told.append(f"{name} could not be put back: {error}")
        try:
            supervisor.shut_down_if_idle()
        except (ResourceError, OSError) as error:
            told.append(str(error))
        return told

    def _await_port(self, name: str, inputs: Properties) -> None:
        """Waits for a port that another set of the same `up` is about to leave; one that the engine would take away
        only at the end of this `up` is ended here, for the port is declared to be ours."""
        port = inputs["port"] + _index(name)
        began = time.monotonic()
        deadline = began + inputs["readySeconds"]
        while not ports.is_free(port):
            if time.monotonic() - began > YIELD_SECONDS:
                self._end_holder(port)
            if self.context.cancelled.is_set():
                raise ResourceError(f"{name}: interrupted while waiting for port {port}.")
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"port {port} on 127.0.0.1 is still in use after {inputs['readySeconds']} s "
                    f"({ports.describe_holder(port)}), and {name!r} was to listen there. End that process or change "
                    f"{inputs.get('portSetting', 'port')}."
                )
            time.sleep(0.1)

    def _end_holder(self, port: int) -> None:
        """Ends the program of this project that listens there; another's process is left alone."""
        with CHANGES:  # so that the other set cannot start the same name anew meanwhile
            process = ports.holder(port)
            found = ports.supervised_as(process, self.context.root / ".skerry" / "run") if process else None
            if found is not None:
                folder, name = found
                Supervisor(folder, self.context.root).stop(name)

    def _await_ready(self, supervisor: Supervisor, name: str, inputs: Properties) -> None:
        port = inputs["port"] + _index(name)
        url = f"http://127.0.0.1:{port}{inputs['readyPath']}"
        began = time.monotonic()
        seconds = inputs["readySeconds"]
        while True:
            status = supervisor.statuses().get(name)
            # Somebody else's answer on that port is none: the socket must be the program's own.
            if (
                status is not None
                and status.alive
                and _answers(url)
                and ports.family_listens(status.pid, port)
            ):
                return
            if self.context.cancelled.is_set():
                raise ResourceError(f"{name}: interrupted before it was ready.")
            if status is None or status.given_up:
                outcome = f"it ended with status {status.exit_status}" if status else "it is gone"
                raise self._not_ready(supervisor, name, url, outcome)
            if time.monotonic() - began > seconds:
                outcome = f"no answer within {seconds} s; on a busy machine raise target.ready_seconds"
                if status.alive and not ports.is_free(port) and not ports.family_listens(status.pid, port):
                    outcome = f"another process listens on port {port} ({ports.describe_holder(port)})"
                raise self._not_ready(supervisor, name, url, outcome)
            time.sleep(0.1)

    def _not_ready(self, supervisor: Supervisor, name: str, url: str, outcome: str) -> ResourceError:
        log = supervisor.log(name)
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
        kept = self._keep_log(log)
        return ResourceError(
            f"{supervisor.folder.name}/{name} never became ready at {url}: {outcome}. Its log is {kept}; it ends:\n"
            + "\n".join(f"    {line}" for line in lines or ["(empty)"])
        )

    def _keep_log(self, log: Any) -> str:
        """Moves a failed program's log out of the folder that is about to be cleaned up."""
        kept = self.context.root / ".skerry" / "failed" / f"{log.parent.parent.name}-{log.name}"
        if log.exists():
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept.write_bytes(log.read_bytes())
        return str(kept.relative_to(self.context.root))

    def _foreign(self, port: int) -> bool:
        """Whether the port is held by anything but a program of this project, which may leave it in the same `up`."""
        for _ in range(LOOKS):
            holder = None if ports.is_free(port) else ports.holder(port)
            if holder is None and ports.is_free(port):
                return False
            if holder is not None and ports.supervised_as(holder, self.context.root / ".skerry" / "run"):
                return False
            time.sleep(0.1)
        return True

    def _supervisor(self, properties: Properties) -> Supervisor:
        root = self.context.root
        return Supervisor(root / ".skerry" / "run" / properties["supervisor"], root)

    def _mine(self, program: str, names: Any) -> list[str]:
        return [name for name in names if name.rpartition("-")[0] == program]

    def _wanted(self, inputs: Properties) -> dict[str, str] | str:
        if has_unknown(inputs):
            return UNKNOWN
        return {name: program.revision for name, program in self._programs(inputs).items()}

    def _programs(self, inputs: Properties) -> dict[str, Program]:
        programs = {}
        for index in range(inputs["replicas"]):
            name = f"{inputs['program']}-{index}"
            fill = {
                "{port}": str(inputs["port"] + index),
                "{index}": str(index),
                "{name}": name,
            }
            command = tuple(_fill(word, fill) for word in inputs["command"])
            environment = {
                key: _fill(value, fill) for key, value in (inputs.get("environment") or {}).items()
            }
            definition = [name, command, environment, inputs["stopSeconds"]]
            revision = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]
            programs[name] = Program(name, command, environment, inputs["stopSeconds"], revision)
        return programs


def _fill(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _index(name: str) -> int:
    return int(name.rpartition("-")[2])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False
