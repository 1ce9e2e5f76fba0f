"""`make lint`: style, types, the settings' schema, the locks and recipes of images; each check says what failed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.paths import ROOT, TOOLKIT

BIN = TOOLKIT / "bin"
HADOLINT = BIN / "hadolint"
SIDE_BY_SIDE = 2  # the two checks of types take nearly all of the time


def recipes(root: Path = ROOT) -> list[str]:
    """Every Containerfile of the repository; what was installed into its hidden folders is not ours."""
    return sorted(str(path.relative_to(root)) for path in root.glob("[!.]*/**/Containerfile*"))


CHECKS: tuple[tuple[str, list[str]], ...] = (
    ("style", [str(BIN / "ruff"), "check", "--quiet", "--output-format", "concise", "--no-cache", "."]),
    (
        "format",
        [str(BIN / "ruff"), "format", "--check", "--quiet", "--output-format", "concise", "--no-cache", "."],
    ),
    ("locks", [str(BIN / "python"), "-m", "tools.lock", "--check"]),
    ("schema", [str(BIN / "python"), "-m", "cli", "schema", "--check"]),
    ("types", [str(BIN / "basedpyright"), "--level", "error"]),
    (
        "types of the workloads",
        [str(BIN / "basedpyright"), "--level", "error", "-p", "workloads/pyrightconfig.json"],
    ),
    ("images", [str(HADOLINT), "--no-color", *recipes()]),
)


def not_offered(command: list[str]) -> str:
    """Why a check cannot run on this kind of machine; empty when it can, or when its absence is a fault."""
    machine = platform.machine()
    if command[0] == str(HADOLINT) and machine != "x86_64" and not HADOLINT.exists():
        return f"hadolint has no wheel for {machine}; run `make lint` on x86_64 before you change an image"
    return ""


def main() -> int:
    """Run every check; 1 when any failed."""
    env = {**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])}

    def passed(check: tuple[str, list[str]]) -> bool:
        name, command = check
        if why := not_offered(command):
            print(f"lint: {name} NOT CHECKED: {why}", flush=True)
            return True
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            print(f"lint: {name} FAILED: {' '.join(command)}\n{done.stdout}", flush=True)
        else:
            print(f"lint: {name} ok in {time.monotonic() - began:.0f} s", flush=True)
        return done.returncode == 0

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        ends = list(pool.map(passed, CHECKS))
    failed = [name for (name, _), end in zip(CHECKS, ends, strict=True) if not end]
    if failed:
        print(f"lint: {len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
