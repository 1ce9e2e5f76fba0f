"""Who this process is among the workers, and how it ends when asked to or when its launcher is gone.

Everything is read from the environment that torchrun sets; without it the process is the only worker.
"""

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed import ProcessGroup, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from workloads.training.flags import ConfigError

LEFT_CODES = "SKERRY_EXIT_CODES"
"""Variable with the folder where each worker of a machine leaves its exit code for torchrun.py."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOPBACK = "127.0.0.1"


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

    def join(self, device: torch.device, patience: float) -> None:
        """Meet the other workers. Fails when one is missing for `patience` seconds, now or at any later exchange."""
        if self.world > 1:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            # torch waits in C++, where Python hears no signal; for a thread Python waits itself.
            ThreadPoolExecutor(1).submit(self._meet, device, timedelta(seconds=patience)).result()

    def _meet(self, device: torch.device, patience: timedelta) -> None:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            timeout=patience,
            store=self._loopback_store(patience),
            rank=self.rank,
            world_size=self.world,
        )

    def _loopback_store(self, patience: timedelta) -> Store | None:
        """Where the workers meet if all are on this machine, out of reach of any other; else None: as torch does.

        torch's own store listens on every address of the machine. Where torchrun serves one, it stays with that.
        """
        host, port = (os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
        if host != _LOOPBACK or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            return None
        if self.rank != 0:
            return TCPStore(host, int(port), self.world, timeout=patience)
        listener = socket.create_server((host, int(port)))  # the store takes it over
        return TCPStore(
            host, int(port), self.world, True, timeout=patience, master_listen_fd=listener.detach()
        )

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This worker's part of a batch; the parts in the order of ranks are the batch.

        The sizes of two parts differ by at most one row.
        """
        first, end = (rank * len(rows) // self.world for rank in (self.rank, self.rank + 1))
        return rows[first:end]

    def group(self) -> ProcessGroup | None:
        """A group of all workers for talk beside the training, over the CPU; None for one worker. All must call it."""
        group = dist.new_group(backend="gloo") if self.world > 1 else None
        assert not isinstance(group, int), "every worker is a member"
        return group

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all workers; every worker must call it, and gets the same."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def part(self, device: torch.device, ended: int) -> None:
        """Return once every worker has called it; where the run `ended` well, fails when one of them is gone.

        torchrun stops all when the first one leaves with another code than 0, and 0 says that the model is published.
        """
        with suppress(RuntimeError) if ended else nullcontext():
            self.sum(torch.zeros(1, device=device)).item()  # reading it waits for a GPU too


def run_name() -> str:
    """What the restarts of this run have in common: torchrun's own id for it, or else its launcher."""
    given = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else os.getpid()
    return given if given != "none" else f"{socket.gethostname()}-{launcher}"


def leave() -> None:
    """Part from the other workers, if joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def end_process(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> NoReturn:
    """Run `main` and end this process with its exit code, without the interpreter's own shutdown.

    Threads of torch live to the very end: gloo's, which DDP's process group keeps and which may still have to free a
    tensor, and in the launcher the one that sends heartbeats to the rendezvous. Python kills a thread that enters the
    interpreter during its shutdown, and where C++ is on that thread's stack this aborts the process: 134 instead of
    the exit code.
    """
    left = Path(os.environ[LEFT_CODES], os.environ["LOCAL_RANK"]) if LEFT_CODES in os.environ else None
    try:
        try:
            code: object = main(arguments)
        finally:
            sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    code = code if isinstance(code, int) else 1
    if left:
        left.write_text(str(code))
    os._exit(code)


def die_with_launcher() -> None:
    """Ask the kernel to kill this worker when torchrun dies, even by SIGKILL; Linux only, elsewhere nothing.

    torchrun gives each worker a session of its own, so without this a killed launcher leaves them training.
    A worker started by hand is left alone: it may be meant to outlive its shell.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
