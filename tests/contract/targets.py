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
    served: Callable[[Recording], Served]
    """Reads from what was registered which model the replicas load."""

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


def _local_served(recording: Recording) -> Served:
    found: Served = {}
    for made in recording.of(":ProcessSet"):
        command = made.inputs["command"]
        if "--model-uri" in command:
            uri, digest = (command[command.index(option) + 1] for option in ("--model-uri", "--digest"))
            found[made.inputs["environment"]["SKERRY_REGION"], made.inputs["program"]] = (uri, digest)
    return found


LOCAL_ANSWERS: Answers = {
    "skerry-local:index:Task": _task,
    "skerry-local:index:ProcessSet": _process_set,
}

TARGETS = {
    "local": Case({"name": "local"}, "cpu", LOCAL_ANSWERS, _local_served),
}
