"""Credentials that are read again when their file changes, so that a revoked key stops working without a restart.

The file is looked at with every request: one `stat`, some microseconds. Kubernetes updates a mounted Secret by swapping
a symbolic link, which gives the path another inode; a file that is written in place gets another time or size.

A key that is not in the file any more is not accepted any more, whatever else the file holds. A file without keys
accepts nobody. A missing file accepts nobody either: kubelet removes it when the Secret is deleted, and the swap of its
link is atomic. With a mistake in the file its new keys wait for the correction, and so does an old key whose own entry
is not good; the other old keys stay in force, so a typing mistake is no outage.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path

from workloads.serving.auth import BadCredentials, Credentials, Identify
from workloads.serving.log import say

State = tuple[int, int, int, int] | None
"""Device, inode, time of the last change in nanoseconds and size of a file; None where there is no file."""
NOBODY = Credentials({}, "", lambda _keys, _shown: None)


def reread(file: Path, read: Callable[[Path], Credentials]) -> Identify:
    """Identify callers by `read(file)`, which is read now, and again before the first request after a change.

    Raises:
        BadCredentials: the file cannot be read, has a mistake or holds no key. Later that is logged only.
    """
    seen, current = _state(file), read(file)  # in this order: what changes in between is read again
    if current.mistake:
        raise BadCredentials(current.mistake)
    if not current.entries:
        raise BadCredentials(f"{file}: holds no key, so nobody could ask; add a key")
    unreadable = ""

    def identify(shown: str) -> str | None:
        nonlocal seen, current, unreadable
        found = _state(file)
        if found != seen:
            before, current = current, NOBODY  # also where reading ends in an error
            try:
                current = _in_force(file, before, read(file))
                seen, unreadable = found, ""
            except BadCredentials as error:  # one that is there is tried again with the next request
                seen = None
                if str(error) != unreadable:
                    unreadable = str(error)
                    say(
                        f"{error}. Until then every request is refused with 401", "credentials", logging.ERROR
                    )
        return current.identify(shown)

    return identify


def _in_force(file: Path, before: Credentials, read: Credentials) -> Credentials:
    """The credentials that a changed file leaves in force, which are logged."""
    if read.mistake:
        kept = read.only(before.entries)
        still = f"Until then {len(kept.entries)} of the {len(before.entries)} keys read before are accepted"
        say(f"{read.mistake}. {still}, and no other", "credentials", logging.ERROR)
        return kept
    if not read.entries:
        say(f"{file}: holds no key, so every request is refused with 401", "credentials", logging.WARNING)
    else:
        say(f"{file}: changed, and its keys are in force now", "credentials")
    return read


def _state(file: Path) -> State:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
