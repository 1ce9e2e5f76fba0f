"""Runs of the training entry that the tests share: a tiny corpus, tiny sizes, starting it as a user would."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import until
from tools.paths import TOOLKIT
from workloads.held_out import is_held_out

ROOT = Path(__file__).parents[3]
TINY = [
    "--width=32",
    "--layers=2",
    "--heads=4",
    "--key-value-heads=2",
    "--hidden=64",
    "--context=32",
    "--steps=6",
    "--batch=4",
    "--warmup=2",
    "--evaluation-bytes=2000",
    "--log-every=1",
]
ENDLESS = [*TINY, "--steps", "1000000", "--log-every", "50"]
TRAIN = ["-m", "workloads.training.train"]
ASK_FOR_LAUNCH = "import json; from components.local import training_job as job; "
ASK_FOR_LAUNCH += "print(json.dumps([job.torchrun(2), job.ON_LOOPBACK]))"


def write_corpus(folder: Path, files: int = 40) -> Path:
    """`files` files of some hundred bytes each, every one with its own words, on both sides of the split."""
    folder.mkdir(parents=True)
    for number in range(files):
        lines = (
            f"def function_{number}_{line}(value): return value * {number} + {line}\n" for line in range(12)
        )
        (folder / f"module_{number}.py").write_text("".join(lines))
    sides = {is_held_out(path.name) for path in folder.iterdir()}
    assert sides == {True, False}, sides
    return folder


@functools.cache
def product_launch() -> tuple[list[str], dict[str, str]]:
    """The words and the environment with which the product starts two workers; its own Python knows them."""
    asked = subprocess.run(
        [TOOLKIT / "bin" / "python", "-c", ASK_FOR_LAUNCH], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    words, environment = json.loads(asked.stdout)
    return [sys.executable, "-m", *words], environment


def launch(workers: int, temporary: Path, program: list[str] = TRAIN) -> dict[str, Any]:
    """Popen's arguments to start `program` with 1 worker (plain) or 2 (as the product); torchrun's leavings
    go under `temporary`."""
    words, environment = product_launch() if workers == 2 else ([sys.executable], {})
    temporary.mkdir()
    return {
        "args": [*words, *program],
        "cwd": ROOT,
        "env": {**os.environ, **environment, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
    }


def start(arguments: list[str], workers: int, log: Path) -> subprocess.Popen:
    """Start the entry; its stderr goes to `log`."""
    how = launch(workers, log.with_suffix(".temporary"), [*TRAIN, *arguments])
    with open(log, "wb") as out:
        return subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=out, text=True)


def await_first_step(process: subprocess.Popen, log: Path) -> None:
    def stepped() -> bool:
        assert process.poll() is None, log.read_text()
        return '"step"' in log.read_text()

    until(stepped, log.read_text)


def lines(text: str) -> list[dict]:
    """The JSON lines of a run's output, also where the launcher's own words ran into the same line."""
    return [json.loads(found) for found in re.findall(r'\{"(?:step|output)".*?\}', text)]


def kept(corpus: Path, folder: Path) -> list[str]:
    """Arguments of a tiny run whose log, checkpoints and model lie in `folder`."""
    places = {"output": "model", "log": "run.jsonl", "checkpoints": "places"}
    return [*TINY, f"--data={corpus}", *(f"--{name}={folder / place}" for name, place in places.items())]
