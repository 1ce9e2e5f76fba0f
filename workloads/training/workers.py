"""Who this process is among the workers, and how it ends when asked to or when its launcher is gone.

Everything is read from the environment that torchrun sets; without it the process is the only worker.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from workloads.training.config import ConfigError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Workers:
    rank: int  # 0 .. world - 1; rank 0 reports and exports
    local: int  # the rank on this machine, which is also the number of its GPU
    world: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Workers":
        rank, local = (int(environment.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
        return cls(rank, local, int(environment.get("WORLD_SIZE", "1")))

    def device(self) -> torch.device:
        """This worker's own GPU, or the CPU where there is none. Raises ConfigError for want of GPUs."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.local >= torch.cuda.device_count():
            raise ConfigError(
                f"LOCAL_RANK={self.local}: each worker needs a GPU of its own and this machine has "
                f"{torch.cuda.device_count()}; start that many by --nproc-per-node, or hide them all"
            )
        return torch.device("cuda", self.local)

    def join(self, device: torch.device) -> None:
        """Meet the other workers. Waits five minutes for them, then fails."""
        if self.world > 1:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=5))

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all workers; every worker must call it, and gets the same."""
        if self.world > 1:
            dist.all_reduce(values)
        return values


def leave() -> None:
    """Part from the other workers, if joined: without it torch's threads abort the exiting process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def stop_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that what is being written is cleared away; the exit code is 143."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the clearing
        print("stopped by SIGTERM; nothing was published", file=sys.stderr, flush=True)
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)


def die_with_launcher() -> None:
    """Ask the kernel to kill this worker when torchrun dies, even by SIGKILL; Linux only, elsewhere nothing.

    torchrun gives each worker a session of its own, so without this a killed launcher leaves them training.
    A worker started by hand is left alone: it may be meant to outlive its shell.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
