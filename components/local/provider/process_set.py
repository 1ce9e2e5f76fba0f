"""`ProcessSet`: N supervised processes of one kind, each waited for until it answers.

An update touches one process at a time and only those whose definition changed: the others keep their pid.
"""

from __future__ import annotations

import time

from components.local.provider import ports, replicas
from components.local.provider.balancer import Balancer
from components.local.provider.lifecycle import Change, Context
from components.local.provider.programs import Answer, ask
from components.local.provider.roll import Roll
from components.local.provider.supervisor import Supervisor
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
    "balancer",
)
READY_SECONDS, READY_LOOKS = 5.0, 3
"""How long a process that is read may take for an answer, and how often it is asked."""
LOOKS = 5
"""A port may change hands between two looks while another set is being updated: one look proves nothing."""


class ProcessSetLifecycle:
    def __init__(self, context: Context) -> None:
        self.context = context

    def check(self, inputs: Properties, state: Properties | None) -> tuple[Properties, dict[str, str]]:
        refusals: dict[str, str] = {}
        number, port = inputs.get("replicas"), inputs.get("port")
        if isinstance(number, int) and number < 0:
            refusals["replicas"] = f"replicas: {number}. Must be 0 or more."
        elif isinstance(number, int) and isinstance(port, int):
            taken = [number for number in replicas.ports(inputs) if self._foreign(number)]
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
        return f"{inputs['supervisor']}/{inputs['program']}", self._apply(urn, inputs)

    def read(self, state: Properties) -> Properties | None:
        """A process counts as running while it answers 200: one that hangs, or that the proxy does not know, is to be
        replaced by the next `up`."""
        supervisor = self._supervisor(state)
        alive, headers = supervisor.revisions(), supervisor.headers()
        running, known = {}, []
        for process in replicas.of_program(state["program"], alive):
            stored = headers.get(process)
            port = stored.port if stored and stored.port else state["port"] + replicas.index_of(process)
            known.append(port)
            if _is_ready(replicas.url(state, port)):
                running[replicas.replica_of(process)] = alive[process]
        balancer = self._balancer(state)
        if balancer is not None and not balancer.is_published(known):
            running = {}
        return {**state, "running": running}

    def update(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        return self._apply(urn, inputs)

    def delete(self, state: Properties) -> None:
        supervisor = self._supervisor(state)
        for process in replicas.of_program(state["program"], supervisor.definitions()):
            supervisor.stop(process)
        supervisor.shut_down_if_idle()
        if balancer := self._balancer(state):
            balancer.forget()

    def _apply(self, urn: str, inputs: Properties) -> Properties:
        Roll(self.context, urn, self._supervisor(inputs), inputs, self._balancer(inputs)).apply()
        return {**{key: inputs.get(key) for key in INPUTS}, "running": self._wanted(inputs)}

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

    def _balancer(self, properties: Properties) -> Balancer | None:
        given = properties.get("balancer")
        return Balancer(self.context.root, given["file"], given["cluster"], given["admin"]) if given else None

    def _wanted(self, inputs: Properties) -> dict[str, str] | str:
        if has_unknown(inputs):
            return UNKNOWN
        return {name: replicas.revision(inputs, name) for name in replicas.names(inputs)}


def _is_ready(url: str) -> bool:
    """One that is not, is asked again: the machine may have no time for it at the moment."""
    for _ in range(READY_LOOKS):
        if ask(url, READY_SECONDS) is Answer.READY:
            return True
        time.sleep(0.2)
    return False
