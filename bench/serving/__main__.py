"""What serving a small model costs and gives here: `make bench-serving`.

SmolLM2-135M on the CPU, two threads: our server beside transformers and llama.cpp, on the same prompts and text; how
far quantization goes; how soon a server is ready; what it does under ten times its load, when it is told to stop, and
when it is asked nonsense. Each part is kept at its commit, so an interrupted run goes on. Writes
bench/results/serving.json.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bench.claims import ROOT, Benchmark
from bench.serving import fuzz, inputs, models, ours, overload, starting, table
from bench.serving.contender import THREADS
from bench.serving.inputs import Inputs
from bench.variants import installed
from tools import environments
from tools.environments import LLAMACPP
from workloads.training.config import TrainConfig

TURNS = 3
EAGER = {table.FP32: "float32", table.BF16: "bfloat16"}
OWN_BYTES, OWN_WINDOW = 100_000, TrainConfig().model.context  # our own model's text, and its context
Made = dict[str, Any]


def main() -> int:
    environments.ensure(LLAMACPP)
    other = str(LLAMACPP.home() / "bin/python")
    facts = {
        **installed(other, ("llama-cpp-python",)),
        "threads": THREADS,
        "answers": f"greedy, {inputs.ANSWER_TOKENS} tokens after {inputs.PROMPT_TOKENS}",
        "slots": ours.SLOTS,
        "layers": "compiled ahead",
    }
    packages = ["torch", "torchao", "transformers", "uvicorn", "httpx"]
    bench = Benchmark("serving", packages, facts=facts)
    folder = bench.folder()
    made = bench.part("models", lambda: prepared(folder))
    given = inputs.make_inputs(Tokenizer.from_file(str(folder / "fp32/tokenizer.json")), inputs.TEXT_BYTES)
    comparison(bench, folder, made, other, given)
    strain(bench, folder, made, given)
    return bench.finish()


def prepared(folder: Path) -> Made:
    """Every model that is measured, and compiled layers for SmolLM2's."""
    shutil.rmtree(folder)  # what an interrupted try has left
    folder.mkdir()
    exported = models.export_fp32(folder / "fp32")
    artifacts = models.publish_all(models.SMOLLM2, folder / "smollm2")
    record = models.train(folder / "own export")
    own = models.publish_all(str(folder / "own export"), folder / "own")
    seconds = {name: ours.compile_ahead(made, folder / "compiled") for name, made in artifacts.items()}
    return {"export": exported, "smollm2": artifacts, "own": own, "training": record, "compiling": seconds}


def comparison(bench: Benchmark, folder: Path, made: Made, other: str, given: Inputs) -> None:
    """All contenders in turns, so that a machine whose speed drifts is the same to all; nothing else runs meanwhile."""
    silent, unscored = replace(given, rounds=[]), replace(given, windows=[])
    export, file = str(folder / "fp32"), str(models.wheel_file())
    servers = {table.OURS.format(scheme): artifact for scheme, artifact in made["smollm2"].items()}
    alone = {
        **{
            name: [sys.executable, "-m", "bench.serving.eager", export, dtype]
            for name, dtype in EAGER.items()
        },
        **{name: engine(artifact) for name, artifact in servers.items()},
        table.LLAMACPP: [other, "-m", "bench.serving.llamacpp", file],
    }

    def loaded(name: str) -> dict[str, Any]:
        if name in servers:
            return ours.measured(servers[name], folder / "compiled", unscored)
        return child(alone[name], unscored)

    samples: dict[str, table.Sample] = {name: {"loads": []} for name in alone}
    for turn in range(TURNS):
        for name, sample in samples.items():
            found = bench.part(f"{name}, turn {turn}", lambda name=name: loaded(name))
            sample["loads"] += found["loads"]
            sample["memory"] = found["memory"]
    for name, sample in samples.items():
        scored = bench.part(f"{name}, scored", lambda name=name: child(alone[name], silent))
        sample["bits"] = scored["bits"]
    table.rows(bench, samples, given.bytes)
    if table.missed(bench):
        command = profiled_engine(made["smollm2"][table.CHOSEN], folder / "compiled")
        table.profile(bench, samples, bench.part("profile", lambda: child(command, unscored)))
    stored = {scheme: artifact["folder_bytes"] for scheme, artifact in made["smollm2"].items()}
    table.memory_falls(bench, samples, stored, made["export"])
    table.quality(
        bench,
        "SmolLM2, whose file holds 4 bits a weight already",
        {scheme: samples[table.OURS.format(scheme)]["bits"] for scheme in made["smollm2"]},
    )
    table.quality(
        bench, "our own model, fp32 from its first step", bench.part("own model", lambda: own_bits(made))
    )


def strain(bench: Benchmark, folder: Path, made: Made, given: Inputs) -> None:
    """A server's start, what it does under too much, when it is stopped, and when it is asked nonsense."""
    artifact, compiled = made["smollm2"][table.CHOSEN], folder / "compiled"
    starting.rows(bench, bench.part("starting", lambda: starting.measured(artifact)))
    threads = overload.THREADS
    bench.part("compiled for overload", lambda: ours.compile_ahead(artifact, compiled, threads))
    filled = bench.part("full", lambda: overload.full(artifact, compiled))
    loaded = bench.part("overload", lambda: overload.loads(artifact, compiled, given))
    drains = [
        bench.part(
            f"drain {number}", lambda number=number: overload.drained(artifact, compiled, given, number)
        )
        for number in range(overload.DRAINS)
    ]
    overload.rows(bench, filled, loaded, drains)
    fuzz.rows(bench, bench.part("fuzz", lambda: fuzz.measured(folder)))


def own_bits(made: Made) -> dict[str, float]:
    """Bits that each artifact of our own model needs for the same text."""
    folder = Path(made["own"]["none"]["uri"].removeprefix("file://"))
    given = inputs.make_inputs(Tokenizer.from_file(str(folder / "tokenizer.json")), OWN_BYTES, {}, OWN_WINDOW)
    return {scheme: child(engine(artifact), given)["bits"] for scheme, artifact in made["own"].items()}


def engine(artifact: models.Artifact) -> list[str]:
    return [sys.executable, "-m", "bench.serving.engine", artifact["uri"], artifact["digest"]]


def profiled_engine(artifact: models.Artifact, compiled: Path) -> list[str]:
    place = [artifact["uri"], artifact["digest"], str(compiled)]
    return [sys.executable, "-m", "bench.serving.profiled", *place]


def child(command: Sequence[str], given: Inputs) -> dict[str, Any]:
    """What a contender in a process of its own measured."""
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(asdict(given)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
