"""Whether the training is exact, loses nothing, and learns; and how fast it is here: `make bench-training`.

Two workers beside one process, one thread each, on the CPU; jobs that are killed; the model beside tables of counts.
Each part is kept at its commit, so an interrupted run goes on. Writes bench/results/training.json.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from bench.claims import Benchmark
from bench.ngrams import gzip_bits_per_byte, ngram_bits_per_byte, scored
from tests.workloads.training.kills import EVERY, STEPS, Job, Kill, changing, draw, run
from tests.workloads.training.lives import FLUSH
from tests.workloads.training.runs import TRAIN, launch, lines, write_corpus
from workloads.training.config import TrainConfig
from workloads.training.data import load_corpus

TOLERANCE = 1e-3  # nats: the sums of two workers are rounded otherwise than those of one process
EXACT = ["--steps=200", "--log-every=1", "--evaluation-bytes=10000"]
SPEED = ["--steps=240", "--log-every=40", "--batch=16", "--evaluation-bytes=10000"]
INTERVAL = 100
LONG = ["--steps=3000", "--batch=16", f"--log-every={INTERVAL}", f"--evaluation-bytes={1 << 40}"]
# About 113 MB of gradients: more than one bucket of either size.
WIDE = ["--width=768", "--heads=12", "--key-value-heads=12", "--hidden=2048", "--layers=4", "--context=32"]
WIDE += ["--steps=8", "--batch=2", "--log-every=1", "--evaluation-bytes=1000"]
BUCKETS = (25, 100)
SEED, JOBS, KILLS = 2026, 5, 4
NUMBERS = (2, 1, 2, 1, 2)
CHANGES = 2
REPEATS = 3
FACTS = {
    "exactness": "preset tiny, batch 8, 200 steps",
    "speed and long run": "preset tiny, batch 16, on the standard library's sources",
    "killed jobs": f"two layers of width 32, {STEPS} steps, a checkpoint every {EVERY}, seed {SEED}",
}


def main() -> int:
    bench = Benchmark("training", packages=["torch", "numpy"], facts=FACTS)
    exactness(bench)
    speed(bench)
    quality(bench)
    buckets(bench)
    folder = bench.folder()
    corpus = write_corpus(emptied(folder / "corpus"))
    killed(bench, folder, corpus)
    changed(bench, folder, corpus)
    return bench.finish()


def trained(workers: int, arguments: Sequence[str], program: Sequence[str] = TRAIN) -> dict[str, Any]:
    """A run's progress lines and its final record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [argument.format(folder=folder) for argument in arguments]
        how = launch(workers, folder / "temporary", [*program, *given, f"--output={folder / 'model'}"])
        done = subprocess.run(**how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"lines": lines(done.stderr), "record": lines(done.stdout)[-1]}


def exactness(bench: Benchmark) -> None:
    one = bench.part("one process", lambda: trained(1, EXACT))
    two = bench.part("two workers", lambda: trained(2, EXACT))
    apart = bench.part("two workers apart", lambda: trained(2, EXACT, ["-m", "bench.unsynchronized"]))
    near, far = gap(one, two), gap(one, apart)
    bench.claim(
        "two workers have the losses of one process, fp32, at each of 200 steps",
        near <= TOLERANCE,
        f"{near:.1e} nats apart at most, {TOLERANCE:.0e} allowed",
    )
    bench.claim(
        "the same check fails where gradients are not exchanged", far > TOLERANCE, f"{far:.1e} nats apart"
    )


def gap(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference in loss at any step; both took the same steps."""
    losses = [{line["step"]: line["loss"] for line in each["lines"]} for each in (one, other)]
    assert losses[0].keys() == losses[1].keys()
    return max(abs(losses[0][step] - losses[1][step]) for step in losses[0])


def speed(bench: Benchmark) -> None:
    """One process and two workers by turns, so that what else the machine does falls on both."""
    turns = [(workers, turn) for turn in range(REPEATS) for workers in (1, 2)]
    rates: dict[int, list[float]] = {1: [], 2: []}
    for workers, turn in turns:
        told = bench.part(f"speed {workers} turn {turn}", lambda workers=workers: trained(workers, SPEED))
        rates[workers] += [line["tokens_per_second"] for line in told["lines"][1:]]  # the first one warms up
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    bench.figure("one process, one thread", f"{one:,.0f} tokens/s")
    for workers, words in ((1, "one process"), (2, "a worker of two")):
        profiled = partial(trained, workers, [*SPEED, "--steps=60"], ["-m", "bench.profiled"])
        told = bench.part(f"profile {workers}", profiled)
        (shares,) = [line["profile"] for line in told["lines"] if "profile" in line]
        top = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        bench.figure(f"where {words} spends its time", top)
    bench.aim(
        "two workers, one thread each", two >= 1.7 * one, f"{two:,.0f} tokens/s, {two / one:.2f}x, aim 1.7x"
    )


def quality(bench: Benchmark) -> None:
    checkpoints = ["--checkpoints={folder}/checkpoints", f"--checkpoint-every={INTERVAL}"]
    long = bench.part("long run", lambda: trained(2, [*LONG, *checkpoints]))
    first, *rest = long["lines"]
    tokens = INTERVAL * 16 * TrainConfig().model.context
    seconds = sum(tokens / line["tokens_per_second"] for line in rest)
    stall = (rest[-1]["checkpoint_stall_seconds"] - first["checkpoint_stall_seconds"]) / seconds
    bench.aim(
        f"standing still for checkpoints, one every {INTERVAL} steps",
        stall < 0.01,
        f"{stall:.2%} of time, aim 1%",
    )
    others = bench.part("tables of counts", counted)
    ours, table = long["record"]["bits_per_byte"], others["ngrams"]
    assert long["record"]["heldout_bytes"] == others["bytes"], "the model and the tables saw other bytes"
    names = ("", "", "bigram", "3-gram", "4-gram")
    for n in (2, 3, 4):
        bench.figure(
            f"{names[n]}, smoothed after Witten and Bell", f"{table[n - 1]:.3f} bits per held-out byte"
        )
    bench.figure("gzip -9 of the held-out bytes alone", f"{others['gzip']:.3f} bits per byte")
    bench.aim(
        f"the model after {long['record']['steps']} steps",
        ours < table[3],
        f"{ours:.3f} bits per held-out byte of {others['bytes']:,}, aim below the 4-gram's {table[3]:.3f}",
    )


def counted() -> dict[str, Any]:
    """What others make of the very bytes that the long run's model is scored on."""
    config = TrainConfig()
    corpus = load_corpus(config)
    positions = scored(corpus.held_out, config.model.context, 1 << 40)
    ngrams = ngram_bits_per_byte(corpus.training, corpus.held_out, positions, order=4)
    return {
        "ngrams": ngrams,
        "gzip": gzip_bits_per_byte(corpus.held_out, positions),
        "bytes": len(positions),
    }


def buckets(bench: Benchmark) -> None:
    seconds: dict[int, list[float]] = {size: [] for size in BUCKETS}
    for turn in range(2):
        for size in BUCKETS:
            told = bench.part(
                f"bucket {size} turn {turn}", lambda size=size: trained(2, [*WIDE, f"--bucket-mb={size}"])
            )
            seconds[size] += [2 * 32 / line["tokens_per_second"] for line in told["lines"][2:]]
    small, large = (statistics.median(seconds[size]) for size in BUCKETS)
    bench.figure("DDP buckets of 25 and 100 MB, 113 MB of gradients", f"{small:.2f} and {large:.2f} s a step")


def killed(bench: Benchmark, folder: Path, corpus: Path) -> None:
    """Jobs of two workers; torchrun starts them again after each SIGKILL."""

    def calm() -> dict[str, Any]:
        return {"code": run(emptied(folder / "calm"), corpus, 2, []).code}

    def dying(number: int) -> dict[str, Any]:
        kills = draw(SEED + number, KILLS, workers=2)
        job = run(emptied(folder / f"killed {number}"), corpus, 2, kills)
        equal = job.code == 0 and same_weights(job.model, folder / "calm" / "model" / "model.safetensors")
        return {"code": job.code, "kills": kills, "died": job.kills(), **repeated(job), "equal": equal}

    right = bench.part("calm job", calm)
    jobs = [bench.part(f"killed job {n}", lambda n=n: dying(n)) for n in range(JOBS)]
    kills: list[Kill] = [kill for job in jobs for kill in job["kills"]]
    died, flush = sum(job["died"] for job in jobs), sum(kill["point"] in FLUSH for kill in kills)
    lost = [steps for job in jobs for steps in job["lost"]]
    bench.claim(
        f"{JOBS} jobs finish, each killed {KILLS} times",
        right["code"] == 0 and all(job["code"] == 0 for job in jobs) and died == JOBS * KILLS,
        f"{died} times SIGKILL, seeds from {SEED}",
    )
    bench.claim("some died in a flush", flush >= 5, f"{flush} of {len(kills)}, at least 5")
    wrong = [job["wrong"] for job in jobs if job["wrong"]]
    bench.claim(
        "none repeats or leaves out a step that a checkpoint held",
        not wrong and len(lost) == died,
        "; ".join(wrong) or f"{statistics.mean(lost):.1f} steps repeated on average, {max(lost)} at most",
    )
    equal = sum(job["equal"] for job in jobs)
    bench.claim("final weights are those of a calm job", equal == JOBS, f"torch.equal in {equal} of {JOBS}")


def changed(bench: Benchmark, folder: Path, corpus: Path) -> None:
    """Jobs that go on with another number of workers after each SIGKILL."""

    def calm() -> dict[str, Any]:
        job = run(emptied(folder / "calm alone"), corpus, 1, [])
        return {"code": job.code, "losses": job.losses()}

    def changing_job(number: int) -> dict[str, Any]:
        seed = SEED + 100 * (number + 1)
        job = changing(emptied(folder / f"changing {number}"), corpus, seed, NUMBERS)
        return {"code": job.code, **repeated(job), "losses": job.losses()}

    right = bench.part("calm process", calm)["losses"]
    jobs = [bench.part(f"changing job {n}", lambda n=n: changing_job(n)) for n in range(CHANGES)]
    complete = all(job["code"] == 0 and job["losses"].keys() == right.keys() for job in jobs)
    gaps = [
        abs(loss - right[step][0]) for job in jobs for step, told in job["losses"].items() for loss in told
    ]
    wrong = [job["wrong"] for job in jobs if job["wrong"]]
    deaths = CHANGES * (len(NUMBERS) - 1)
    bench.claim(
        "each of them but for the last time is killed, and goes on after its last checkpoint",
        not wrong and sum(len(job["lost"]) for job in jobs) == deaths,
        "; ".join(wrong) or f"{deaths} times SIGKILL",
    )
    bench.claim(
        f"{CHANGES} jobs of {' then '.join(map(str, NUMBERS))} workers have the losses of one process at each step",
        complete and max(gaps, default=float("nan")) <= TOLERANCE,
        f"{max(gaps, default=float('nan')):.1e} nats apart at most, {TOLERANCE:.0e} allowed",
    )


def repeated(job: Job) -> dict[str, Any]:
    """Steps that each death cost, and what a life did wrong with what was kept, if anything."""
    try:
        return {"lost": job.lost(), "wrong": ""}
    except AssertionError as error:
        return {"lost": [], "wrong": str(error)}


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def emptied(folder: Path) -> Path:
    """The folder with nothing of an interrupted try in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
