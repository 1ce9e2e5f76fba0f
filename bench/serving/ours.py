"""Our server, a real process, under clients: what they see, and the memory that it takes.

Layers are compiled ahead (`python -m workloads.serving.compile`) and in place before anything is measured.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.claims import ROOT
from bench.serving.contender import THREADS, memory
from bench.serving.inputs import Inputs
from bench.serving.load import WHOLE, at_once, run
from bench.serving.models import Artifact
from tests.workloads.serving.serving import NAME, Running, running, until

SLOTS = 16  # as many as one compiled pass takes
CPU = "--device=cpu"  # also where there is a GPU: bench.serving_gpu is for those
FLAGS = [CPU, f"--threads={THREADS}", f"--slots={SLOTS}", "--queue=64"]


def compile_ahead(artifact: Artifact, folder: Path, threads: int = THREADS) -> float:
    """Put the compiled layers of `artifact` into `folder`; the seconds that it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "workloads.serving.compile", f"--model-uri={artifact['uri']}"]
    command += [f"--digest={artifact['digest']}", f"--threads={threads}", f"--output={folder}", CPU]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


@contextmanager
def compiled_server(artifact: Artifact, compiled: Path, *flags: str) -> Iterator[Running]:
    """A server that runs on compiled layers."""
    with running(artifact, f"--compile-cache={compiled}", *flags) as server:
        until(lambda: "layers compiled" in server.log())
        yield server


def measured(artifact: Artifact, compiled: Path, inputs: Inputs) -> dict[str, Any]:
    """Loads as contender.py has them, here through HTTP, and the server's memory after them."""
    prompts, loads = iter(inputs.prompts), []
    with compiled_server(artifact, compiled, *FLAGS) as server:
        url = str(server.client.base_url)
        run(url, at_once(NAME, 1, 2, inputs.tokens, prompts))  # warms up
        for clients, rounds in inputs.rounds:
            asked = run(url, at_once(NAME, clients, rounds, inputs.tokens, prompts))
            assert all(one.end == WHOLE and one.tokens == inputs.tokens for one in asked), asked
            loads.append(
                {
                    "clients": clients,
                    "seconds": max(one.ended for one in asked) - min(one.began for one in asked),
                    "tokens": sum(one.tokens for one in asked),
                    "first": [one.first - one.began for one in asked],
                }
            )
        return {"loads": loads, "memory": memory(server.process.pid)}
