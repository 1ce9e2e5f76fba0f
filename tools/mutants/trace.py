"""Which test runs which line: each test module is run once under coverage.py, in a copy of the tree.

The result lies in .tools/mutants/, keyed by the module and by the content of every file that it ran, so that
only modules whose files changed are traced again.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import coverage

from tools import processes
from tools.paths import ROOT
from tools.sabotage import a_copy, files_of

# Suites whose tests are asked, with the environment of each. A rehearsal takes minutes a test module.
SUITES = {
    "tests/unit": "toolkit",
    "tests/contract": "toolkit",
    "tests/local": "toolkit",
    "tests/workloads": "workloads",
}
MEASURED = ("components", "workloads", "cli", "tools", "tests")
LIMIT_S = 1800
SETTINGS = """[run]
include =
    {measured}
parallel = true
data_file = {data}/c
context = ${{SKERRY_CONTEXT-}}
plugins = tools.mutants.saving
sigterm = true
patch = _exit
disable_warnings = no-data-collected, module-not-imported, module-not-measured, couldnt-parse
"""


@dataclass(frozen=True)
class Trace:
    """What one test module ran."""

    module: str
    database: Path
    prefix: str
    files: dict[str, str]
    """SHA-256 of each file that was run, by its name in the tree."""
    tests: dict[str, dict]
    shared: dict[str, float]
    """Seconds that each shared result took."""
    imported: list[str]
    """Contexts of what runs when the module is imported."""

    @property
    def digest(self) -> str:
        """A hash over the content of every file that was run."""
        return hashlib.sha256(json.dumps([self.module, self.files], sort_keys=True).encode()).hexdigest()

    def is_fresh(self, root: Path) -> bool:
        """Whether no file that was run has changed."""
        return all(sha256(root / name) == digest for name, digest in self.files.items())

    def contexts(self, file: str) -> dict[int, set[str]]:
        """The contexts in which each line of a file was run."""
        if file not in self.files:
            return {}
        data = coverage.CoverageData(str(self.database))
        data.read()
        found = data.contexts_by_lineno(f"{self.prefix}/{file}")
        return {line: set(contexts) for line, contexts in found.items()}


def sha256(file: Path) -> str:
    """Digest of a file's content; empty when it is not there."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def environment_of(module: str) -> str:
    """The environment that runs a test module."""
    return next(env for suite, env in SUITES.items() if module.startswith(f"{suite}/"))


def modules_of(root: Path) -> list[str]:
    """Every test module of the suites."""
    suites = tuple(f"{suite}/" for suite in SUITES)
    return [
        name for name in files_of(root) if name.startswith(suites) and Path(name).name.startswith("test_")
    ]


def place_of(store: Path, module: str) -> Path:
    """Where the trace of a test module lies."""
    return store / (module.removesuffix(".py").replace("/", ".") + ".json")


def load(store: Path, module: str) -> Trace | None:
    """The last trace of a test module, fresh or not."""
    place = place_of(store, module)
    if not place.exists():
        return None
    row = json.loads(place.read_text())
    return Trace(
        module,
        place.with_suffix(".coverage"),
        row["prefix"],
        row["files"],
        row["tests"],
        row["shared"],
        row["imported"],
    )


def stale(root: Path, store: Path, files: Iterable[str]) -> list[str]:
    """Test modules to trace: without a trace, changed themselves, or running one of the files, and not fresh."""
    wanted, found = set(files), []
    for module in modules_of(root):
        last = load(store, module)
        runs_one = (
            last is None or last.files.get(module) != sha256(root / module) or wanted & last.files.keys()
        )
        if last is None or (runs_one and not last.is_fresh(root)):
            found.append(module)
    return found


def trace(root: Path, made: Path, store: Path, modules: list[str], jobs: int) -> None:
    """Trace the test modules, `jobs` at a time."""
    store.mkdir(parents=True, exist_ok=True)

    def one(module: str) -> str:
        began = time.monotonic()
        with a_copy(root) as copy:
            note = trace_module(root, copy, made, store, module)
        return f"traced {module} ({time.monotonic() - began:.0f} s){note}"

    with ThreadPoolExecutor(jobs) as pool:
        for line in pool.map(one, modules):
            print(line, flush=True)


def trace_module(root: Path, copy: Path, made: Path, store: Path, module: str) -> str:
    """Run one test module under coverage in a copy; a note on what went wrong."""
    data, contexts = copy.parent / "data", copy.parent / "contexts.json"
    data.mkdir()
    settings = copy.parent / "coverage.ini"
    measured = "\n    ".join(f"{copy / name}/*" for name in MEASURED)
    settings.write_text(SETTINGS.format(measured=measured, data=data))
    env = test_environment(copy)
    env |= {"COVERAGE_PROCESS_START": str(settings), "SKERRY_CONTEXTS": str(contexts)}
    python = str(made / environment_of(module) / "bin/python")
    # COVERAGE_PROCESS_START starts coverage in this process and in those that it starts.
    command = [python, "-m", "pytest", "-p", "tools.mutants.contexts", *pytest_options(copy), module]
    status, output = run(command, copy, env, LIMIT_S)
    if not contexts.exists():
        return f" and failed: pytest ended with {status}:\n{output[-2000:]}"
    keep(root, copy, store, module, json.loads(contexts.read_text()), data)
    red = [name for name, test in json.loads(contexts.read_text())["tests"].items() if not test["passed"]]
    return "".join(f"\n  red without any mutant, not used: {name}" for name in red)


def keep(root: Path, copy: Path, store: Path, module: str, report: dict, data: Path) -> None:
    """Combine what the processes of a test module ran, and keep it with the digests of the files."""
    place = place_of(store, module)
    database = place.with_suffix(".coverage")
    database.unlink(missing_ok=True)
    combined = coverage.Coverage(data_file=str(database), config_file=False)
    combined.combine([str(file) for file in data.iterdir()])
    combined.save()
    prefix = f"{copy}/"
    measured = combined.get_data().measured_files()
    files = sorted({module, *(name.removeprefix(prefix) for name in measured if name.startswith(prefix))})
    row = {"prefix": str(copy), "files": {name: sha256(copy / name) for name in files}, **report}
    place.write_text(json.dumps(row))


def test_environment(copy: Path) -> dict[str, str]:
    """Environment variables of a run in a copy."""
    env = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PULUMI_ERROR_OUTPUT_STRING": "1",
        "HANG_SECONDS": "60",
    }
    env["PYTHONPATH"] = os.pathsep.join([str(copy), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env["TMPDIR"] = str(copy.parent)
    env.pop("PYTEST_ADDOPTS", None)
    return env


def pytest_options(copy: Path) -> list[str]:
    """Options of every run of pytest in a copy."""
    return ["-q", "--color=no", "-p", "no:cacheprovider", f"--basetemp={copy.parent / 't'}"]


def run(command: list[str], copy: Path, env: dict[str, str], limit_s: float) -> tuple[int | None, str]:
    """Run a command in a copy: its exit status, None when it ran past the limit, and its output."""
    # Into a file: a pipe would stay open as long as anything that a test left behind.
    output = copy.parent / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(command, cwd=copy, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            status: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = None
            process.send_signal(signal.SIGKILL)
        finally:
            processes.end(copy.parent)
            process.wait()
    return status, output.read_text(errors="replace")
