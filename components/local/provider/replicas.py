"""The processes that a set of replicas is made of: names, ports, revisions. Pure.

A replica is called PROGRAM-INDEX. Where a balancer stands in front, its successor starts beside it under the other of
two names, on a port that is free: of N replicas' N + 1 ports one always is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from components.local.provider.programs import Program
from components.local.provider.values import Properties

SUCCESSOR = "b"
_NAME = re.compile(rf"(?P<program>.+)-(?P<index>\d+){SUCCESSOR}?")
HOST = "127.0.0.1"


def names(inputs: Properties) -> list[str]:
    """Names of the replicas."""
    return [f"{inputs['program']}-{index}" for index in range(inputs["replicas"])]


def replica_of(process: str) -> str:
    """Name of the replica that a process is."""
    return process.removesuffix(SUCCESSOR)


def other_name(process: str) -> str:
    """Name that the successor of a process has."""
    return process.removesuffix(SUCCESSOR) if process.endswith(SUCCESSOR) else f"{process}{SUCCESSOR}"


def of_program(program: str, processes: Iterable[str]) -> list[str]:
    """Those of the processes that are replicas of a program."""
    found = ((name, _NAME.fullmatch(name)) for name in processes)
    return [name for name, match in found if match is not None and match["program"] == program]


def index_of(process: str) -> int:
    """Index of the replica that a process is."""
    match = _NAME.fullmatch(process)
    assert match is not None, process
    return int(match["index"])


def ports(inputs: Properties) -> range:
    """Ports that the replicas may listen on: one more than replicas where successors start beside them."""
    spare = 1 if inputs.get("balancer") and inputs["replicas"] else 0
    return range(inputs["port"], inputs["port"] + inputs["replicas"] + spare)


def url(inputs: Properties, port: int) -> str:
    """Where a replica on a port says that it is ready."""
    return f"http://{HOST}:{port}{inputs['readyPath']}"


def program(inputs: Properties, replica: str, process: str, port: int) -> Program:
    """A process of a replica, on a port."""
    fill = {"{port}": str(port), "{index}": str(index_of(replica)), "{name}": replica}
    command = tuple(_fill(word, fill) for word in inputs["command"])
    environment = {key: _fill(value, fill) for key, value in (inputs.get("environment") or {}).items()}
    revision_ = revision(inputs, replica)
    return Program(process, command, environment, inputs["stopSeconds"], port, url(inputs, port), revision_)


def revision(inputs: Properties, replica: str) -> str:
    """Digest of what a replica runs; without its port where successors take another one."""
    index = index_of(replica)
    port = "{port}" if inputs.get("balancer") else str(inputs["port"] + index)
    fill = {"{port}": port, "{index}": str(index), "{name}": replica}
    command = [_fill(word, fill) for word in inputs["command"]]
    environment = {key: _fill(value, fill) for key, value in (inputs.get("environment") or {}).items()}
    definition = [replica, command, environment, inputs["stopSeconds"]]
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:16]


def _fill(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
