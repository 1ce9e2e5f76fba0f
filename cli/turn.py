"""One run at a time on the local stack: the others wait, and say for whom and since when."""

from __future__ import annotations

import fcntl
import os
import sys
from datetime import datetime
from pathlib import Path

_HELD: list[int] = []
"""Descriptor of the lock, once this process has it. The kernel gives the lock back when the process ends."""


def take(state: Path) -> None:
    """Wait until no other run has the turn, and keep it until this process ends.

    Args:
        state: folder of the stack's state.
    """
    if _HELD:
        return
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(state / "turn", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode() or "just started"
        print(f"skerry: waiting for another run on this stack ({holder})", file=sys.stderr, flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"pid {os.getpid()}, since {datetime.now():%H:%M:%S}".encode(), 0)
    _HELD.append(descriptor)
