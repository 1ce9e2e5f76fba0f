"""Processes of this machine, found by their user or by the folder that they belong to. Standard library only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

LIMIT_S = 30


def found(uid: int | None = None, inside: Path | None = None) -> dict[int, str]:
    """Commands by process id, this process aside.

    `inside` keeps those that stand in that folder, or name it in their command or environment.
    """
    told: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if uid is not None and entry.stat().st_uid != uid:
                continue
            command = words(entry / "cmdline")
        except OSError:
            continue
        if command and (inside is None or belongs(entry, command, inside)):  # a zombie has no command
            told[int(entry.name)] = command
    return told


def belongs(entry: Path, command: str, folder: Path) -> bool:
    """Whether a process has to do with a folder."""
    mark = f"{folder}/"
    try:
        stands_in = os.readlink(entry / "cwd").removesuffix(" (deleted)") + "/"
        return mark in f"{command}/" or stands_in.startswith(mark) or mark in words(entry / "environ") + "/"
    except OSError:
        return mark in f"{command}/"


def words(file: Path) -> str:
    """A list of /proc as one line."""
    return file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def end(inside: Path) -> dict[int, str]:
    """Kill whatever belongs to a folder, and what it starts meanwhile; what was killed."""
    ended: dict[int, str] = {}
    deadline = time.monotonic() + LIMIT_S
    while left := found(inside=inside):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still running after {LIMIT_S} s of SIGKILL: {left}")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        ended |= left
        time.sleep(0.05)
    return ended
