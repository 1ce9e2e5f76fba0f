"""How fast the `local` stack comes up: `make bench-local`.

Works in a copy of the project with a state of its own, so nothing of a running stack is touched. The environments and
the engine are taken as they stand (warm); no state, model or checkpoint is kept, so training and quantization run
inside. Writes bench/results/local_stack.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.claims import Benchmark
from tests.local.clone import Clone, make_clone

AIMS = {"up_warm": 90.0, "up_without_changes": 10.0}
"""Seconds; aims of the project, not promises: they depend on the machine."""
REPEATS = 3


def main() -> int:
    bench = Benchmark("local_stack")
    with tempfile.TemporaryDirectory() as folder:
        clone = make_clone(Path(folder))
        try:
            samples = measure(clone)
            right = "Paris" in clone.chat("Which city is the capital of France? Answer with one word.")[0]
        finally:
            down = timed(lambda: clone.run("./skerry", "down"))
    bench.samples = {"seconds": {**samples, "down": [down]}}
    bench.claim("the stack that was timed answers rightly", right, "one question, one word")
    for name, seconds in bench.samples["seconds"].items():
        middle = sorted(seconds)[len(seconds) // 2]
        figure = f"median {middle:.1f} s of {len(seconds)}"
        if name in AIMS:
            bench.aim(name, middle <= AIMS[name], f"{figure}, aim {AIMS[name]:.0f} s")
        else:
            bench.figure(name, figure)
    return bench.finish()


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


if __name__ == "__main__":
    sys.exit(main())
