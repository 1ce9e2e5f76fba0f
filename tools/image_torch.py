"""Runs inside a build of workloads/Containerfile: python -m tools.image_torch cpu|cuda PREFIX

Installs torch under a prefix. `cuda` is all that the lock names. `cpu` is the CPU build where the index that pip is
configured with offers one (0.7 GB); else the locked build without what only a GPU would use: whole packages that
nothing loads, and those CUDA libraries that torch's own do not ask the loader for.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from tools import lock, torch_source
from tools.problem import Problem

VARIANTS = ("cpu", "cuda")
LOCK = Path(lock.TORCH)

NOT_ON_A_CPU = {
    "cuda-bindings": "Python's way to the driver",
    "cuda-pathfinder": "looks for CUDA's files",
    "cuda-toolkit": "holds no files, only names others",
    "nvidia-cuda-cccl": "headers",
    "nvidia-cusolver": "loaded at the first call of linear algebra on a GPU",
    "nvidia-nvtx": "marks for a GPU's profiler",
    "triton": "compiles kernels for GPUs (1 GB)",
}
"""Packages that a CPU image leaves out, and why torch starts without them. torch 2.15.0, found by leaving out."""


def requirements(variant: str, text: str) -> str:
    """The part of the lock `text` that a variant installs."""
    left_out = NOT_ON_A_CPU if variant == "cpu" else {}
    kept = [block for block in lock.blocks(text) if not lock.versions(block).keys() & left_out.keys()]
    return "\n".join(kept) + "\n"


def asked_for(library: Path) -> set[Path]:
    """Files that the loader opens for a library, and for those in turn. Raises Problem when one is missing."""
    told = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=True).stdout
    if missing := re.findall(r"(\S+) => not found", told):
        names = ", ".join(missing)
        raise Problem(f"{library.name} asks for {names}, which is left out", "shorten NOT_ON_A_CPU")
    return {Path(found).resolve() for found in re.findall(r"=> (\S+) \(", told)}


def prune(packages: Path) -> int:
    """Remove NVIDIA's files that the loader does not open for torch; bytes freed."""
    kept = asked_for(packages / "torch" / "lib" / "libtorch_python.so")
    freed = 0
    for file in sorted((packages / "nvidia").rglob("*")):
        if file.is_file() and file.resolve() not in kept:
            freed += file.stat().st_size
            file.unlink()
    return freed


def install(variant: str, prefix: Path) -> None:
    """Install, prune, and write bytecode without dates."""
    if variant not in VARIANTS:
        raise Problem(f"VARIANT={variant!r} is no variant", f"write one of {', '.join(VARIANTS)}")
    chosen = requirements(variant, LOCK.read_text())
    cpu_build = None
    if variant == "cpu" and platform.machine() == "x86_64":
        version = torch_source.locked_version(LOCK)
        cpu_build = torch_source.find_cpu_build(Path(sys.executable), version, dict(os.environ))
    if cpu_build:
        print(f"torch: taking {cpu_build.version} with the hash that your index states", flush=True)
        chosen = cpu_build.requirement()
    picked = Path("torch.txt")
    picked.write_text(chosen)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--no-compile"]
    _run([*pip, "--only-binary", ":all:", "--prefix", str(prefix), "-r", str(picked)])
    packages = next(prefix.glob("lib/python3*/site-packages"))
    if variant == "cpu" and not cpu_build:
        print(f"torch: left out {prune(packages) / 1e9:.1f} GB of CUDA libraries", flush=True)
    _run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(prefix)])


def _run(command: list[str]) -> None:
    if subprocess.run(command).returncode:
        what = "a step of installing torch failed, see above"
        raise Problem(what, "check pip's settings (`pip config list`) and the free disk space")


def main() -> int:
    """Install the variant named first under the prefix named second."""
    try:
        install(sys.argv[1], Path(sys.argv[2]))
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
