"""How soon a server is ready, beside a process that only imports torch; the page cache is warm."""

import subprocess
import sys
import time
from typing import Any

from bench.claims import ROOT, Benchmark
from bench.serving.contender import THREADS
from bench.serving.models import Artifact
from bench.serving.ours import CPU
from bench.serving.table import CHOSEN
from tests.workloads.serving.serving import running

REPEATS = 3
AIM = 10.0  # seconds


def measured(artifact: Artifact, repeats: int = REPEATS) -> dict[str, list[float]]:
    """Seconds from the start of a process until it is ready, or has imported torch and ended; by turns."""
    found: dict[str, list[float]] = {"ready": [], "torch": []}
    with running(artifact):
        pass  # reads every file once
    for _ in range(repeats):
        began = time.monotonic()
        with running(artifact, CPU, f"--threads={THREADS}"):
            found["ready"].append(time.monotonic() - began)
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], cwd=ROOT, check=True)
        found["torch"].append(time.monotonic() - began)
    return found


def rows(bench: Benchmark, found: dict[str, Any]) -> None:
    ready, alone = (sorted(found[name])[len(found[name]) // 2] for name in ("ready", "torch"))
    bench.aim(
        f"a server of {CHOSEN} is ready, warm page cache",
        ready <= AIM,
        f"{ready:.1f} s, aim {AIM:.0f} s; a process that only imports torch takes {alone:.1f} s",
    )
