"""How fast the `local` stack comes up: `make bench-local`.

Works in a copy of the project with a state of its own, so nothing of a running stack is touched. The environments and
the engine are taken as they stand (warm); no state, model or checkpoint is kept, so training and quantization run
inside. Writes bench/results/local_stack.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.local.clone import Clone, make_clone
from tests.local.plugin import ROOT

RESULTS = Path(__file__).parent / "results" / "local_stack.json"
AIMS = {"up_warm": 90.0, "up_without_changes": 10.0}
"""Seconds; aims of the project, not promises: they depend on the machine."""
REPEATS = 3


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        clone = make_clone(Path(folder))
        try:
            samples = measure(clone)
            right = "Paris" in clone.chat("Which city is the capital of France? Answer with one word.")[0]
        finally:
            down = timed(lambda: clone.run("./skerry", "down"))
    samples["down"] = [down]
    print(f"{'PASS' if right else 'FAIL'} the stack that was timed answers rightly")
    for name, seconds in samples.items():
        middle = sorted(seconds)[len(seconds) // 2]
        aim = AIMS.get(name)
        verdict = "" if aim is None else f"  {'MET' if middle <= aim else 'MISSED'} aim {aim:.0f} s"
        print(f"{name}: median {middle:.1f} s of {len(seconds)}{verdict}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({**machine(), "seconds": samples, "aims": AIMS}, indent=2, sort_keys=True) + "\n"
    )
    return 0 if right else 1


def measure(clone: Clone) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {"up_warm": [timed(clone.up)]}
    for _ in range(REPEATS - 1):
        assert clone.run("./skerry", "down").returncode == 0
        samples["up_warm"].append(timed(clone.up))
    samples["up_without_changes"] = [timed(clone.up) for _ in range(REPEATS)]
    samples["preview"] = [timed(lambda: clone.run("./skerry", "preview")) for _ in range(REPEATS)]
    return samples


def timed(action: Callable[[], Any]) -> float:
    began = time.monotonic()
    action()
    return round(time.monotonic() - began, 2)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    processor = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return {
        "commit": commit,
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    sys.exit(main())
