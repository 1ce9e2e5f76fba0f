"""A published model version on this machine: quantized once, then copied to the regions that serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

import pulumi
from pulumi import Input, ResourceOptions

from components.contracts import ModelVersion
from components.local.resources import TOOLKIT_PYTHON, WORKLOADS_PYTHON, Task
from components.naming import short_version
from components.settings.items import FOLDER, PACKAGED

TIMEOUT_SECONDS = 1800
JUDGE_BYTES = 10_000
"""Text that the loss is measured on: a tenth of the usual, as a newcomer waits for it with two cores."""


def content_of(source: str) -> list[str]:
    """Patterns of the files whose change is another source: the folder itself, or the pin of a package. A training
    run has a digest of its own."""
    if source.startswith(FOLDER):
        return [f"{PurePosixPath(unquote(urlsplit(source).path))}//**/*"]
    return ["workloads//requirements-models.txt"] if source.startswith(PACKAGED) else []


class LocalModelVersionArgs(TypedDict):
    """Args of `LocalModelVersion`."""

    source: Input[str]
    """URI of what is quantized."""
    source_digest: Input[str]
    """What stands for the source in the version's own digest."""
    source_files: Sequence[str]
    """Patterns of the files that hold the source's content, which counts in that digest too."""
    scheme: str
    """Quantization scheme."""
    disk_gib: int
    """As the model's settings say; processes of this machine have no limit."""
    output_parent: Input[str]
    """file:// URI of the folder that the version goes under."""


class LocalModelVersion(pulumi.ComponentResource):
    """The serving workload's `publish`, run once for a source and a scheme."""

    def __init__(
        self,
        name: str,
        args: LocalModelVersionArgs,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalModelVersion", name, {}, opts)
        self.task = Task(
            f"{name}-publish",
            program=f"publish-{name}",
            command=[
                *(WORKLOADS_PYTHON, "-m", "workloads.serving.publish"),
                *("--source", args["source"]),
                *("--scheme", args["scheme"]),
                *("--output", "{output}"),
                *("--judge-bytes", str(JUDGE_BYTES)),
            ],
            environment={
                "HF_HUB_OFFLINE": "1",
                # measured on the CPU, which serves it, also where there is a GPU
                "CUDA_VISIBLE_DEVICES": "",
                # A training has the cores meanwhile, and threads that wait for each other spin: one was seen to be
                # twice as fast as two then, and nearly as fast (23 s, 20 s) on idle ones.
                "OMP_NUM_THREADS": "1",
            },
            key={"source": args["source_digest"], "scheme": args["scheme"]},
            sources=[
                "workloads//*.py",
                "workloads//serving/*.py",
                "workloads//requirements.txt",
                *args["source_files"],
            ],
            output_parent=args["output_parent"],
            result="manifest.json",
            timeout_seconds=TIMEOUT_SECONDS,
            opts=ResourceOptions(parent=self),
        )
        digest = self.task.checksum
        self.version = ModelVersion(
            name=name,
            version=digest.apply(short_version),
            scheme=args["scheme"],
            uri=self.task.output,
            digest=digest,
            facts=self.task.outcome.apply(_sizes),
            disk_gib=args["disk_gib"],
        )
        self.register_outputs({"uri": self.version.uri, "digest": digest, "version": self.version.version})


class LocalModelCopyArgs(TypedDict):
    """Args of `LocalModelCopy`."""

    source: Input[str]
    """URI of the published version."""
    digest: Input[str]
    """Its digest: a copy is made once for a digest."""
    output_parent: Input[str]
    """file:// URI of the folder that the copy goes under."""


class LocalModelCopy(pulumi.ComponentResource):
    """A version in another region's tier."""

    def __init__(self, name: str, args: LocalModelCopyArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:LocalModelCopy", name, {}, opts)
        transfer = (TOOLKIT_PYTHON, "-m", "workloads.transfer")
        self.task = Task(
            f"{name}-task",
            program=f"copy-{name}",
            command=[*transfer, "--source", args["source"], "--output", "{output}"],
            environment={},
            key={"digest": args["digest"]},
            sources=[],
            output_parent=args["output_parent"],
            result="manifest.json",
            timeout_seconds=TIMEOUT_SECONDS,
            opts=ResourceOptions(parent=self),
        )
        self.uri = self.task.output
        self.register_outputs({"uri": self.uri})


def _sizes(outcome: Mapping[str, Any]) -> dict[str, Any]:
    return {key: outcome[key] for key in ("bytes_before", "bytes_after")}
