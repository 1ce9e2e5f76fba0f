"""`make lint`: style, types, the settings' schema and the locks; each check says what failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tools.paths import ROOT, TOOLKIT

BIN = TOOLKIT / "bin"

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
)


def main() -> int:
    """Run every check; 1 when any failed."""
    env = {**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])}
    failed: list[str] = []
    for name, command in CHECKS:
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            failed.append(name)
            print(f"lint: {name} FAILED: {' '.join(command)}\n{done.stdout}", flush=True)
        else:
            print(f"lint: {name} ok in {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"lint: {len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
