"""Every target, and what the contract's tests need to know of it. A new target is a row of `TARGETS`."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.settings.load import load_stack_settings
from components.settings.model import StackSettings
from tests.recorder import Answers, Recording

Served = dict[tuple[str, str], tuple[str, str]]
"""Region and service -> URI and digest of the model that its replicas load."""

STACK: dict[str, Any] = {
    "environment": "test",
    "regions": [{"name": "east", "dial": 0.5}, {"name": "west"}],
    "training": [{"name": "coder", "region": "west", "pool": "train", "workers": 2, "steps": 10}],
    "models": [
        {"name": "coder", "source": "training://coder", "scheme": "none"},
        {"name": "assistant", "source": "package://some_package/some.gguf"},
    ],
    "services": [
        {"name": "coder", "model": "coder", "pool": "serve", "replicas": 2},
        {"name": "assistant", "model": "assistant", "pool": "serve"},
    ],
}
POOLS = {"train": 2, "serve": 3}


@dataclass(frozen=True)
class Case:
    """A target as the contract's tests use it."""

    target: Mapping[str, Any]
    """The target's own settings."""
    accelerator: str
    answers: Answers
    replicas: str
    """Type of the resource that runs replicas."""
    served_by: Callable[[Mapping[str, Any]], Served]
    """Reads from the inputs of such a resource which model its replicas load; nothing if it runs something else."""

    def served(self, recording: Recording) -> Served:
        """Which model the replicas load."""
        found: Served = {}
        for made in recording.of(self.replicas):
            found |= self.served_by(made.inputs)
        return found

    def settings(self, **changes: Any) -> StackSettings:
        """Two regions: a run in the second, a model of it, another model from elsewhere, both served."""
        pools = [
            {"name": name, "accelerator": self.accelerator, "max_nodes": nodes}
            for name, nodes in POOLS.items()
        ]
        whole = {**copy.deepcopy(STACK), "target": dict(self.target), "pools": pools, **changes}
        return load_stack_settings(whole)


def _task(inputs: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(inputs["key"], sort_keys=True).encode()).hexdigest()
    return {
        "digest": digest,
        "output": f"{inputs['outputParent']}/{digest[:12]}",
        "checksum": f"sha256:{hashlib.sha256(digest.encode()).hexdigest()}",
        "outcome": {"bytes_before": 400, "bytes_after": 100, "steps": 10},
        "seconds": 1,
    }


def _process_set(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"running": {str(index): "running" for index in range(int(inputs["replicas"]))}}


def _local_served(inputs: Mapping[str, Any]) -> Served:
    command = inputs["command"]
    if "--model-uri" not in command:
        return {}
    uri, digest = (command[command.index(option) + 1] for option in ("--model-uri", "--digest"))
    return {(inputs["environment"]["SKERRY_REGION"], inputs["program"]): (uri, digest)}


PROCESSES = "skerry-local:index:ProcessSet"
LOCAL_ANSWERS: Answers = {"skerry-local:index:Task": _task, PROCESSES: _process_set}

TARGETS = {
    "local": Case({"name": "local"}, "cpu", LOCAL_ANSWERS, PROCESSES, _local_served),
}
