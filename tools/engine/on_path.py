"""Way 1: the user's own `pulumi`, if it is recent enough and has its Python language host."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.engine.way import OLDEST, Made, NotServed, Place
from tools.prerequisites import numbers

INSTALL = "install Pulumi >= 3.250.0 with its Python language host and put both on PATH"


def users_path(place: Place) -> str:
    """PATH without what we made ourselves."""
    ours = place.made.resolve()
    folders = [folder for folder in place.path.split(os.pathsep) if folder]
    return os.pathsep.join(folder for folder in folders if ours not in Path(folder).resolve().parents)


def find(place: Place) -> Made:
    """The engine on PATH."""
    path = users_path(place)
    pulumi, host = shutil.which("pulumi", path=path), shutil.which("pulumi-language-python", path=path)
    if pulumi is None:
        raise NotServed("there is no pulumi on PATH", INSTALL)
    if host is None:
        raise NotServed(f"{pulumi} has no pulumi-language-python beside it on PATH", INSTALL)
    try:
        told = subprocess.run([pulumi, "version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotServed(f"{pulumi} does not run: {error}", INSTALL) from error
    version = told.stdout.strip()
    if numbers(version) < OLDEST:
        raise NotServed(f"{pulumi} is {version or 'silent about its version'}, older than v3.250.0", INSTALL)
    return Made(
        "path", version, f"{pulumi} with {host}", {"pulumi": pulumi, "host": host, "seen": seen(pulumi)}
    )


def unchanged(told: dict[str, str], place: Place) -> bool:
    """Whether PATH still leads to the very engine that was recorded (without running it)."""
    path = users_path(place)
    pulumi, host = shutil.which("pulumi", path=path), shutil.which("pulumi-language-python", path=path)
    return pulumi == told["pulumi"] and host == told["host"] and seen(told["pulumi"]) == told["seen"]


def seen(path: str) -> str:
    """What tells one version of a file from another."""
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns}"
