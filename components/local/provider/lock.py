"""One provider changes a project at a time: that of a run which was killed may live on for some seconds."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

from components.local.provider.lifecycle import ResourceError

SECONDS = 60
"""Longer than a provider lives on without its engine."""


class RootLock:
    """A lock on the project's folder itself, so that no file is left behind. The kernel gives it back when the
    process ends, however it ends.

    Args:
        seconds: how long to wait for another process that holds it.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._taking = threading.Lock()
        self._held: dict[Path, int] = {}

    def take(self, root: Path, cancelled: threading.Event) -> None:
        """Takes it, once, and keeps it until the process ends.

        Raises:
            ResourceError: another process still holds it, or the run was interrupted.
        """
        deadline = time.monotonic() + self.seconds  # before the queue: all who wait give up together
        with self._taking:
            if root in self._held:
                return
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._wait(root, descriptor, deadline, cancelled)
            except BaseException:
                os.close(descriptor)
                raise
            self._held[root] = descriptor

    def _wait(self, root: Path, descriptor: int, deadline: float, cancelled: threading.Event) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                pass
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"{root} is being changed by another run: {_holder(descriptor)} still held its lock after "
                    f"{self.seconds:g} s. One run changes a clone at a time: wait for that one or end it, then "
                    "run `up` again."
                )
            if cancelled.wait(0.1):
                raise ResourceError(
                    f"Interrupted while waiting for {_holder(descriptor)}, which changes {root}."
                )


def _holder(descriptor: int) -> str:
    """Who holds the lock, as far as the kernel tells."""
    inode = str(os.fstat(descriptor).st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return f"pid {words[4]}"
    return "a process that the kernel does not name"
