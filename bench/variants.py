"""`make horovod` and `make ray`: under another launcher the training loop takes the same steps as under torchrun.

    python -m bench.variants horovod|ray

Builds the variant's environment in .tools/ where it is missing, trains with two workers under torchrun and then with
two under the variant, on the same text, and compares the losses of all steps. The log of both, step by step, goes to
bench/results/NAME.log beside the JSON; 1 where a difference is too large.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.claims import ROOT, Benchmark
from tools import environments
from tools.environments import HOROVOD, RAY, WORKLOADS, Environment
from tools.problem import Problem
from workloads.training import launch

STEPS, WORKERS = 200, 2
SHAPE = ["--width=64", "--hidden=192", "--context=64"]  # small: what is compared does not depend on the size
VARIANTS = "workloads.training.variants"


@dataclass(frozen=True)
class Variant:
    environment: Environment
    command: Callable[[str], list[str]]  # for the path of its Python: what starts its workers
    tolerance: float  # nats per token, at every step
    why: str
    packages: tuple[str, ...]
    python: tuple[int, int] | None = None  # the only one it runs on


KNOWN = {
    "horovod": Variant(
        HOROVOD,
        lambda python: [
            *(str(Path(python).with_name("horovodrun")), "--gloo", "--network-interfaces", "lo"),
            *("-np", str(WORKERS), python, "-m", f"{VARIANTS}.horovod_run", "--plain=true"),
        ],
        1e-2,
        "torch 2.0.1 and the plain attention and optimizer add in another order",
        ("horovod", "torch"),
        (3, 11),
    ),
    "ray": Variant(
        RAY,
        lambda python: [python, "-m", f"{VARIANTS}.ray_run", str(WORKERS)],
        1e-3,
        "the torch and the kernels are the same",
        ("ray", "torch"),
    ),
}


def main(arguments: list[str]) -> int:
    """Build, run both, compare."""
    if len(arguments) != 1 or arguments[0] not in KNOWN:
        print(f"error: name one variant: {', '.join(KNOWN)}", file=sys.stderr)
        return 2
    [name] = arguments
    variant = KNOWN[name]
    try:
        if variant.python not in (None, sys.version_info[:2]):
            needed = ".".join(map(str, variant.python or ()))
            raise Problem(f"{name} runs on Python {needed} only", f"PYTHON=python{needed} make {name}")
        environments.ensure(variant.environment)
        return compare(name, variant)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def compare(name: str, variant: Variant) -> int:
    """Train under both launchers and tell how far apart they are; 1 when too far."""
    python = str(variant.environment.home() / "bin/python")
    bench = Benchmark(name, facts={"steps": STEPS, "workers": WORKERS, **installed(python, variant.packages)})
    with tempfile.TemporaryDirectory(prefix="variant-") as folder:
        data, model = f"{folder}/data", f"{folder}/model"
        ours = str(WORKLOADS.home() / "bin/python")
        run([ours, "-m", "workloads.training.prepare", "--pattern", "f*.py", "--output", data], folder)
        given = [f"--steps={STEPS}", *SHAPE, "--data", data]
        torchrun = launch.training(
            WORKERS, [*given, "--log-every=1", "--evaluation-bytes=1000", "--output", model]
        )
        expected = bench.part("torchrun", lambda: losses(run([ours, *torchrun[1:]], folder)))
        found = bench.part(name, lambda: losses(run([*variant.command(python), *given], folder)))
    log = judge(bench, name, expected, found, variant)
    head = f"{WORKERS} workers each; " + ", ".join(f"{key} {value}" for key, value in bench.facts.items())
    (ROOT / "bench" / "results" / f"{name}.log").write_text("\n".join([head, *log]) + "\n")
    return bench.finish()


def judge(
    bench: Benchmark, name: str, expected: list[float], found: list[float], variant: Variant
) -> list[str]:
    """Claim that both went the same way; the lines of the log."""
    gaps = [abs(one - other) for one, other in zip(expected, found, strict=False)]
    complete = len(expected) == len(found) == STEPS
    bench.claim("both took every step", complete, f"{len(expected)} and {len(found)} of {STEPS}")
    largest = max(gaps, default=math.inf)
    figure = f"{largest:.1e} nats at most, {variant.tolerance:g} allowed: {variant.why}"
    bench.claim("the losses are the same at every step", largest <= variant.tolerance, figure)
    falls = complete and found[-1] < found[0] - 1
    bench.claim("the loss falls", falls, f"{found[0]:.2f} to {found[-1]:.2f} nats" if found else "no step")
    rows = zip(expected, found, gaps, strict=False)
    return [
        f"{'step':>4}  {'torchrun':>9}  {name:>9}  difference",
        *(f"{step:4}  {one:9.6f}  {other:9.6f}  {gap:.1e}" for step, (one, other, gap) in enumerate(rows, 1)),
        *(f"{row.verdict}  {row.name}: {row.figure}" for row in bench.rows),
    ]


def installed(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions in the variant's environment."""
    ask = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", ask, *packages], capture_output=True, text=True, check=True)
    return dict(zip(packages, done.stdout.split(), strict=True))


def run(command: list[str], folder: str) -> str:
    """What a command says, on both of its streams."""
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)])
    more = {"PATH": path, "OMP_NUM_THREADS": "1", "TMPDIR": folder, **launch.ON_LOOPBACK}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-20:])
        raise Problem(
            f"{' '.join(command[:4])} ... ended with {done.returncode}:\n{said}", "read what it said"
        )
    return done.stdout


def losses(said: str) -> list[float]:
    """The losses of the steps, in their order; Ray passes each line on twice."""
    lines = [json.loads(line) for line in re.findall(r'\{"step".*?\}', said)]
    return [loss for _, loss in sorted({line["step"]: line["loss"] for line in lines}.items())]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
