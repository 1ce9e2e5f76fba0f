"""Jobs of real workers that are killed at drawn moments, each time by SIGKILL, each time started again by torchrun.

    python -m workloads.training.torchrun ... -m tests.workloads.training.kills KILLS ARGUMENTS...

is the training entry with ARGUMENTS; KILLS is JSON, and the Nth life of the job (torchrun counts its restarts) meets
the Nth of them: `rank`, and `point` and `occurrence` as in lives.py. The short form is in test_kills.py, the full one
in bench/training.py.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workloads.training.lives import FLUSH, arm, kill
from tests.workloads.training.runs import TINY, launch
from workloads.training.train import main
from workloads.training.workers import end_process

STEPS, EVERY = 120, 10
OF_RANK_0 = ("metadata", "facts", "latest", "published", "retention")  # only one worker publishes
OF_STEPS = "step"
Kill = dict[str, Any]
LIFE, LOADED, PUBLISHED, STEP, BEFELL = "life", "loaded", "published", "step", "befell"


def draw(seed: int, count: int, workers: int) -> list[Kill]:
    """Moments to die, by turns before some step and somewhere in a flush, in an order of chance."""
    chance = random.Random(seed)
    kills = []
    for number in range(count):
        if number % 2:
            point, occurrence = OF_STEPS, chance.randint(2, 3 * EVERY)
        else:
            point, occurrence = chance.choice(FLUSH), chance.randint(1, 2)
        rank = 0 if point in OF_RANK_0 else chance.randrange(workers)
        kills.append({"rank": rank, "point": point, "occurrence": occurrence})
    chance.shuffle(kills)
    return kills


@dataclass(frozen=True)
class Job:
    """What a launch of such a job left behind."""

    code: int
    log: str
    model: Path

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What happened, in order: (LIFE | LOADED | PUBLISHED | STEP | BEFELL, the line)."""
        found = []
        for text in re.findall(r'\{"(?:life|step|checkpoint|befell)".*?\}', self.log):
            line = json.loads(text)
            kind = next(iter(line))
            found.append((line["checkpoint"] if kind == "checkpoint" else kind, line))
        return found

    def kills(self) -> int:
        return sum(kind == BEFELL for kind, _ in self.told())

    def losses(self) -> dict[int, list[float]]:
        """Every loss told for a step: more than one where it was repeated."""
        losses: dict[int, list[float]] = {}
        for kind, line in self.told():
            if kind == STEP:
                losses.setdefault(line["step"], []).append(line["loss"])
        return losses

    def lost(self) -> list[int]:
        """For each life but the first, how many steps it took anew; none where it ended before its first step.

        Raises AssertionError where a life repeats a step that was kept, or leaves one out.
        """
        lost: list[int] = []
        lives = kept = at = loaded = 0
        for kind, line in self.told():
            if kind == LIFE:
                if lives and loaded >= 0:
                    lost.append(0)
                lives, loaded = lives + 1, 0
            elif kind == LOADED:
                loaded = line["at_step"]
            elif kind == PUBLISHED:
                kept = max(kept, line["at_step"])
            elif kind == STEP and loaded >= 0:
                assert line["step"] == loaded + 1, f"step {line['step']} after a checkpoint of {loaded}"
                assert loaded >= kept, f"goes on from step {loaded}, though {kept} was kept"
                lost.append(at - loaded)
                at, loaded = line["step"], -1
            elif kind == STEP:
                assert line["step"] == at + 1, f"step {line['step']} after {at}"
                at = line["step"]
        return lost[1:]


def run(
    folder: Path,
    corpus: Path,
    workers: int,
    kills: list[Kill],
    steps: int = STEPS,
    restarts: int | None = None,
) -> Job:
    """Start the job in `folder` and wait for its end; torchrun starts it again as often as it is killed, or less."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.log")))
    log = folder / f"{number}.log"
    entry = ["-m", "tests.workloads.training.kills", json.dumps(kills)]
    given = [
        "--data",
        str(corpus),
        "--steps",
        str(steps),
        "--checkpoint-every",
        str(EVERY),
        "--run-id",
        "one",
    ]
    given += ["--checkpoints", str(folder / "checkpoints"), "--output", str(folder / "model")]
    how = launch(workers, folder / f"{number}.temporary", [*entry, *TINY, *given])
    if workers > 1:
        most = len(kills) if restarts is None else restarts
        how["args"].insert(how["args"].index("--nproc-per-node"), f"--max-restarts={most}")
    with open(log, "wb") as out:
        code = subprocess.run(**how, stdout=subprocess.DEVNULL, stderr=out, check=False).returncode
    return Job(code, log.read_text(), folder / "model" / "model.safetensors")


def changing(folder: Path, corpus: Path, seed: int, numbers: Sequence[int], steps: int = STEPS) -> Job:
    """One run with these numbers of workers, one after the other; all but the last are killed, at drawn moments."""
    logs, job = [], Job(1, "", Path())
    for turn, workers in enumerate(numbers, 1):
        kills = draw(seed + turn, 1, workers) if turn < len(numbers) else []
        job = run(folder, corpus, workers, kills, steps, restarts=0)
        assert bool(job.code) == bool(kills), job.log
        logs.append(job.log)
    return Job(job.code, "\n".join(logs), job.model)


def befallen(arguments: Sequence[str]) -> int:
    life, rank = (int(os.environ.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", "RANK"))
    kills = json.loads(arguments[0])
    if rank == 0:
        print(
            json.dumps({"life": life, "world_size": int(os.environ.get("WORLD_SIZE", "1"))}),
            file=sys.stderr,
            flush=True,
        )
    if life < len(kills) and kills[life]["rank"] == rank:

        def act() -> None:
            print(json.dumps({"befell": rank, **kills[life]}), file=sys.stderr, flush=True)
            kill(Path())

        arm(kills[life]["point"], kills[life]["occurrence"], act)
    return main(arguments[1:])


if __name__ == "__main__":
    end_process(befallen, sys.argv[1:])
