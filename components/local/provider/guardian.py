"""Runs one command and lets nothing of it outlive its caller.

    python -m components.local.provider.guardian PARENT_PID COMMAND...

torchrun starts its workers in sessions of their own, so neither a process group nor a terminal reaches them.
This process therefore adopts every descendant (the kernel's child subreaper) and, when it is asked to stop or
its caller dies, ends them all. It exits with the command's status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10


def main(arguments: list[str]) -> int:
    caller, command = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != caller:  # it died before the kernel was told to watch it
        return 128 + signal.SIGTERM
    try:
        return _status_of(subprocess.Popen(command).pid)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_descendants()


def _status_of(started: int) -> int:
    """Wait for the command; meanwhile bury the adopted descendants, whose own parents have ended."""
    while True:
        pid, status = os.wait()
        if pid == started:
            return os.waitstatus_to_exitcode(status)


def _end_descendants() -> None:
    family = psutil.Process().children(recursive=True)
    for process in family:
        _send(process, signal.SIGTERM)
    psutil.wait_procs(family, timeout=GRACE_SECONDS)
    for process in psutil.Process().children(recursive=True):
        _send(process, signal.SIGKILL)


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
