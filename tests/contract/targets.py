"""Every target, and what the contract's tests need to know of it. A new target is a row of `TARGETS`."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.settings.load import load_stack_settings
from components.settings.model import StackSettings
from tests.recorder import Recording
from tests.stand_ins import StandIns

Served = dict[tuple[str, str], tuple[str, str]]
"""Region and service -> URI and digest of the model that its replicas load."""

POOLS = {"train": 2, "serve": 4}
PIN = f"sha256:{'1' * 64}"


@dataclass(frozen=True, eq=False)
class Case:
    """A target as the contract's tests use it."""

    target: Mapping[str, Any]
    """The target's own settings."""
    regions: tuple[str, str, str]
    """Regions that it has. A run stands in the second."""
    dials: tuple[float, float, float]
    """From the smallest that the target can keep to 1."""
    answers: StandIns
    replicas: str
    """Type of the resource that runs replicas."""
    served_by: Callable[[Mapping[str, Any]], Served]
    """Reads from the inputs of such a resource which model its replicas load; nothing if it runs something else."""
    pin: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a model needs so that its version can be served."""

    @property
    def zone(self) -> str:
        """A zone of the first region; a target without clusters has none."""
        return self.target["networks"][self.regions[0]]["zones"][0]

    def served(self, recording: Recording) -> Served:
        """Which model the replicas load."""
        found: Served = {}
        for made in recording.of(self.replicas):
            found |= self.served_by(made.inputs)
        return found

    def models(self, *names: str) -> list[dict[str, Any]]:
        """One of the run's, and one from elsewhere."""
        sources = {
            "coder": {"source": "training://coder", "scheme": "none"},
            "assistant": {"source": "package://some_package/some.gguf"},
        }
        return [{"name": name, **sources[name], **self.pin} for name in names]

    def settings(self, **changes: Any) -> StackSettings:
        """Two regions: a run in the second, a model of it, another model from elsewhere, both served."""
        first, second, _ = self.regions
        whole: dict[str, Any] = {
            "environment": "test",
            "target": copy.deepcopy(dict(self.target)),
            "regions": [{"name": first, "dial": self.dials[1]}, {"name": second}],
            "pools": [
                {"name": name, "accelerator": "cpu", "max_nodes": nodes} for name, nodes in POOLS.items()
            ],
            "training": [{"name": "coder", "region": second, "pool": "train", "workers": 2, "steps": 10}],
            "models": self.models("coder", "assistant"),
            "services": [
                {"name": "coder", "model": "coder", "pool": "serve", "replicas": 2},
                {"name": "assistant", "model": "assistant", "pool": "serve"},
            ],
            **changes,
        }
        made_here = {region["name"] for region in whole["regions"]}
        networks = whole["target"].get("networks")
        if networks is not None:
            whole["target"]["networks"] = {name: net for name, net in networks.items() if name in made_here}
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


def _cluster_served(inputs: Mapping[str, Any]) -> Served:
    (main,) = inputs["spec"]["template"]["spec"]["containers"]
    command = main["command"]
    if "--model-uri" not in command:
        return {}
    region = {variable["name"]: variable["value"] for variable in main["env"]}["SKERRY_REGION"]
    uri, digest, name = (
        command[command.index(option) + 1] for option in ("--model-uri", "--digest", "--model-name")
    )
    return {(region, name): (uri, digest)}


PROCESSES, DEPLOYMENT = "skerry-local:index:ProcessSet", "kubernetes:apps/v1:Deployment"
LOCAL_ANSWERS = StandIns({"skerry-local:index:Task": _task, PROCESSES: _process_set})
IMAGES = {name: f"registry.example.com/{name}@{PIN}" for name in ("training", "serving", "gateway")}
AWS_REGIONS = ("us-east-1", "eu-west-1", "us-west-2")
GCP_REGIONS = ("us-central1", "europe-west4", "us-east4")

AWS = {
    "name": "aws",
    "account": "111122223333",
    "domain": "inference.example.com",
    "administrators": ["arn:aws:iam::111122223333:role/admin"],
    "images": IMAGES,
    "autoscaler": f"registry.example.com/autoscaler@{PIN}",
    "networks": {
        region: {
            "cidr": f"10.{16 * (index + 1)}.0.0/16",
            "zones": [f"{region}a", f"{region}b"],
            "certificate": f"arn:aws:acm:{region}:111122223333:certificate/00000000-0000-0000-0000-000000000000",
        }
        for index, region in enumerate(AWS_REGIONS)
    },
}
GCP = {
    "name": "gcp",
    "project": "example-project",
    "project_number": 123456789012,
    "domain": "inference.example.com",
    "images": IMAGES,
    "networks": {
        region: {
            "nodes": f"10.{16 * (index + 1)}.0.0/20",
            "pods": f"10.{16 * (index + 1) + 4}.0.0/14",
            "services": f"10.{16 * (index + 1)}.32.0/20",
            "zones": [f"{region}-a", f"{region}-b"],
        }
        for index, region in enumerate(GCP_REGIONS)
    },
}

TARGETS = {
    "local": Case(
        {"name": "local"}, ("east", "west", "north"), (0, 0.5, 1), LOCAL_ANSWERS, PROCESSES, _local_served
    ),
    "aws": Case(AWS, AWS_REGIONS, (0, 0.5, 1), StandIns(), DEPLOYMENT, _cluster_served, {"digest": PIN}),
    "gcp": Case(GCP, GCP_REGIONS, (0.1, 0.5, 1), StandIns(), DEPLOYMENT, _cluster_served, {"digest": PIN}),
}
CLUSTERS = [name for name, case in TARGETS.items() if case.replicas == DEPLOYMENT]
"""Targets whose regions stand on a cluster host."""
