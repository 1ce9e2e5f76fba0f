"""Start the training program from another program on this machine: one worker, or several under torchrun.

python -m workloads.training.launch PARENT COMMAND...    become COMMAND, which dies when process PARENT does
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

ON_LOOPBACK = {
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # torchrun would serve a store on every address
    "GLOO_SOCKET_IFNAME": "lo",  # gloo would listen on whatever address the host name resolves to
}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def training(workers: int, arguments: Sequence[str]) -> list[str]:
    """The command of a training run; with more than one worker its environment needs ON_LOOPBACK."""
    module = ["-m", "workloads.training.train", *arguments]
    if workers > 1:
        rendezvous = ["--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file", "--local-addr", "127.0.0.1"]
        module = ["-m", "workloads.training.torchrun", *rendezvous, "--nproc-per-node", str(workers), *module]
    return [sys.executable, *module]


def tied(command: Sequence[str]) -> list[str]:
    """A command that the kernel kills when this process dies, even by SIGKILL; Linux only, elsewhere as it is."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-m", "workloads.training.launch", str(os.getpid()), *command]


def become(parent: int, command: Sequence[str]) -> NoReturn:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(command[0], list(command))


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
