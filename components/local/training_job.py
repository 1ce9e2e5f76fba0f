"""A training run on this machine: torchrun, run to its end once for everything that the result depends on."""

from __future__ import annotations

import sysconfig
from typing import TypedDict

import pulumi
from pulumi import Input, ResourceOptions

from components.contracts import TrainingRun
from components.local.resources import WORKLOADS_PYTHON, Task

TIMEOUT_SECONDS = 3600
ON_LOOPBACK = {
    # torchrun would otherwise serve a store on every address; each worker meets the others by its own.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    # gloo would otherwise listen on whatever address the host name resolves to.
    "GLOO_SOCKET_IFNAME": "lo",
}
"""Environment that keeps every socket of a run off the network, together with the words of `torchrun`."""


def torchrun(workers: int) -> list[str]:
    """What follows `python -m` to start workers that meet on this machine only; the module to run comes next."""
    return [
        "workloads.training.torchrun",
        *("--rdzv-backend", "c10d"),
        # A fresh temporary file, where the default is a TCP server on every address.
        *("--rdzv-conf", "store_type=file"),
        *("--local-addr", "127.0.0.1"),
        *("--nproc-per-node", str(workers)),
    ]


class LocalTrainingJobArgs(TypedDict):
    """Args of `LocalTrainingJob`."""

    workers: int
    """World size of the DDP job."""
    threads: int
    """Threads of each worker."""
    steps: int
    """Optimizer steps."""
    seed: int
    """Fixes initial weights and the order of the data."""
    attempt: int
    """A higher number runs it again."""
    output_parent: Input[str]
    """file:// URI of the folder that the export goes under."""


class LocalTrainingJob(pulumi.ComponentResource):
    """`up` waits for the run: what is served afterwards is its result."""

    def __init__(self, name: str, args: LocalTrainingJobArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:LocalTrainingJob", name, {}, opts)
        settings = {name: args[name] for name in ("workers", "steps", "seed")}
        if (
            args["attempt"] > 1
        ):  # absent on the first, so that runs made before attempts were counted stay as they are
            settings["attempt"] = args["attempt"]
        self.task = Task(
            f"{name}-task",
            program=f"train-{name}",
            command=[
                *(WORKLOADS_PYTHON, "-m", *torchrun(args["workers"]), "-m", "workloads.training.train"),
                *("--output", "{output}"),
                *("--steps", str(args["steps"])),
                *("--seed", str(args["seed"])),
            ],
            environment={"OMP_NUM_THREADS": str(args["threads"]), **ON_LOOPBACK},
            key=settings,
            sources=[
                "workloads//*.py",
                "workloads//training/*.py",
                "workloads//requirements*.txt",
                f"{sysconfig.get_path('stdlib')}//**/*.py",
            ],
            output_parent=args["output_parent"],
            result="record.json",
            timeout_seconds=TIMEOUT_SECONDS,
            opts=ResourceOptions(parent=self),
        )
        self.run = TrainingRun(name, self.task.output, self.task.digest, self.task.outcome)
        self.register_outputs({"uri": self.run.uri, "digest": self.run.digest, "record": self.run.record})
