"""Credentials that are read again when their file changes, so that a revoked key stops working without a restart.

The file is looked at with every request: one `stat`, some microseconds. Kubernetes updates a mounted Secret by swapping
a symbolic link, which gives the path another inode; a file that is written in place gets another time or size.

A new file that cannot be used leaves the last good credentials in force, and the log says so. The other choice, to
refuse every caller, would turn a typing mistake into an outage, and no caller that was let in before is a stranger. To
revoke all keys, replace them; deleting the file revokes none.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from workloads.serving.auth import BadCredentials, Identify
from workloads.serving.log import say

State = tuple[int, int, int, int] | None
"""Device, inode, time of the last change in nanoseconds and size of a file; None where there is no file."""


def reread(file: Path, read: Callable[[Path], Identify]) -> Identify:
    """`read(file)` now, and again before the first request after the file has changed.

    Raises:
        BadCredentials: the file cannot be used now. Later that is logged only.
    """
    seen, current = _state(file), read(file)  # in this order: what changes in between is read again

    def identify(shown: str) -> str | None:
        nonlocal seen, current
        found = _state(file)
        if found != seen:
            seen = found
            try:
                current = read(file)
                say(f"{file}: changed, and its keys are in force now", "credentials")
            except BadCredentials as error:
                say(f"{error}. Until then the keys read before stay in force", "credentials", logging.ERROR)
        return current(shown)

    return identify


def _state(file: Path) -> State:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
