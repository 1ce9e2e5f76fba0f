"""`make test`: lint, then every test in the environment it belongs to, then a count that hides nothing.

python -m tools.run_tests                           # everything; what is not collected fails the run
python -m tools.run_tests tests/unit/tools -k lock  # a subset, for developers; lint is left out
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.paths import REPORTS, ROOT, TOOLKIT, WORKLOADS

OF_WORKLOADS = "tests/workloads"
# Trainings that are stopped, killed and go on: about half of what the training takes.
OF_LIVES = [
    f"{OF_WORKLOADS}/training/test_{name}.py"
    for name in ("elastic", "kills", "object_stores", "resume", "torchrun")
]
# Runs of their own, side by side: each waits for processes and sockets about as long as it computes.
PARTS = {
    "local": (TOOLKIT, ["tests/local"]),
    "rehearsal": (TOOLKIT, ["tests/rehearsal"]),
    "toolkit": (
        TOOLKIT,
        ["tests", f"--ignore={OF_WORKLOADS}", "--ignore=tests/local", "--ignore=tests/rehearsal"],
    ),
    "lives": (WORKLOADS, OF_LIVES),
    "training": (
        WORKLOADS,
        [OF_WORKLOADS, f"--ignore={OF_WORKLOADS}/serving", *(f"--ignore={path}" for path in OF_LIVES)],
    ),
    "serving": (WORKLOADS, [f"{OF_WORKLOADS}/serving"]),
}
# What must be nought: a test that was not really run shows nothing.
FORBIDDEN = ("skipped", "xfailed", "xpassed", "deselected", "rerun", "not run")
RUNNING: list[subprocess.Popen[str]] = []
"""The suites that were started."""
ABOUT = "about half an hour on 2 cores, up to 70 minutes in a fresh clone"


@dataclass
class Tally:
    """The counts of one or more pytest runs."""

    collected: int = 0
    counts: dict[str, int] = field(default_factory=dict[str, int])
    modules: set[str] = field(default_factory=set[str])
    faults: list[str] = field(default_factory=list[str])
    failures: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, outcome: str) -> int:
        """How many tests ended so."""
        return self.counts.get(outcome, 0)

    def add(self, told: dict) -> None:
        """Take in what the plugin wrote."""
        broken = [f"{module} cannot be collected" for module in told["broken"]]
        self.join(Tally(told["collected"], told["counts"], set(told["modules"]), broken, told["failures"]))

    def join(self, other: Tally) -> None:
        """Take in another run's counts."""
        self.collected += other.collected
        for outcome, number in other.counts.items():
            self.counts[outcome] = self.of(outcome) + number
        self.modules |= other.modules
        self.faults += other.faults
        self.failures |= other.failures


def modules_with_tests(root: Path) -> set[str]:
    """Every file under tests/ that is named as a test module or defines a test."""
    found: set[str] = set()
    for path in sorted((root / "tests").rglob("*.py")):
        named = path.name.startswith("test_") or path.name.endswith("_test.py")
        if named or defines_a_test(path):
            found.add(path.relative_to(root).as_posix())
    return found


def defines_a_test(path: Path) -> bool:
    """True when a file holds a `def test_...` at its top or in a class Test...."""
    try:
        body = ast.parse(path.read_text()).body
    except SyntaxError:
        return True  # then pytest must say so
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
    nodes = [*body, *(inner for node in classes for inner in node.body)]
    return any(
        isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name.startswith("test_") for n in nodes
    )


def run_suite(
    name: str,
    python: Path,
    arguments: list[str],
    root: Path,
    reports: Path,
    scratch: Path | None = None,
    beside: bool = False,
) -> Tally:
    """One pytest run; whatever it does not account for is a fault.

    What it and its processes write for a while goes to `scratch`; `beside` another one, its lines are named.
    """
    reports.mkdir(parents=True, exist_ok=True)
    counts = reports / f"{name}.json"
    counts.unlink(missing_ok=True)
    env = {**os.environ, "PULUMI_ERROR_OUTPUT_STRING": "1", "SKERRY_TEST_COUNTS": str(counts)}
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(root), str(ROOT)]))
    env.pop("PYTEST_ADDOPTS", None)
    command = [str(python), "-m", "pytest", "-p", "tools.count_tests", "-p", "no:cacheprovider"]
    if scratch:
        temporary = scratch / "t"  # short names: sockets lie there
        temporary.mkdir(parents=True)
        env["TMPDIR"] = str(temporary)
        command.append(f"--basetemp={scratch / 'p'}")
    command += [f"--junitxml={reports / name}.xml", *arguments]
    status = guarded(name if beside else "", command, root, env)
    tally = Tally()
    if not counts.exists():
        tally.faults.append(f"pytest in the {name} environment ended with {status} and no counts")
        return tally
    tally.add(json.loads(counts.read_text()))
    if status not in (0, 5) and not tally.of("failed"):
        tally.faults.append(f"pytest in the {name} environment ended with {status}")
    return tally


def guarded(name: str, command: list[str], root: Path, env: dict[str, str]) -> int:
    """Run a command and return its exit status. No process that it started outlives it, or this process.

    Each line of its output has `name` in front, unless that is empty.
    """
    guardian = [sys.executable, "-m", "components.local.provider.guardian", str(os.getpid())]
    out, err = (subprocess.PIPE, subprocess.STDOUT) if name else (None, None)
    with subprocess.Popen(
        [*guardian, *command], cwd=root, env=env, text=True, stdout=out, stderr=err
    ) as process:
        RUNNING.append(process)
        for line in process.stdout or ():
            print(f"{name:<9} | {line}", end="", flush=True)
    return process.returncode


def run_suites(chosen: list[tuple[str, Path, list[str]]], scratch: Path) -> Tally:
    """Run the suites side by side: the counts of them all."""
    beside = len(chosen) > 1
    with ThreadPoolExecutor(len(chosen)) as pool:
        runs = []
        for number, (name, python, words) in enumerate(chosen):
            own = scratch / str(number)
            runs.append(pool.submit(run_suite, name, python, words, ROOT, REPORTS, own, beside))
        whole = Tally()
        try:
            for run in runs:
                whole.join(run.result())
        except BaseException:  # an interrupt: nothing of the suites stays
            for process in RUNNING:
                process.terminate()
            raise
    return whole


def judge(tally: Tally, expected: set[str] | None) -> list[str]:
    """Why a run does not count as passed; empty when it does. `expected` is None for a subset."""
    faults = list(tally.faults)
    if tally.collected == 0:
        faults.append("no test was collected")
    if tally.of("failed"):
        faults.append(f"{tally.of('failed')} failed")
    if expected is not None:
        faults += [f"{tally.of(outcome)} {outcome}" for outcome in FORBIDDEN if tally.of(outcome)]
        unseen = sorted(expected - tally.modules)
        faults += [f"{module} holds no test that was collected" for module in unseen]
    return faults


def suites(arguments: list[str]) -> list[tuple[str, Path, list[str]]]:
    """Which environment runs what: (name, python, pytest's arguments)."""
    paths = [word for word in arguments if (ROOT / word.split("::")[0]).exists() and not word.startswith("-")]
    options = [word for word in arguments if word not in paths]
    theirs = [path for path in paths if path.startswith(OF_WORKLOADS)]
    ours = [path for path in paths if path not in theirs]
    if ours and not any(path.startswith("tests/") and path.count("/") for path in ours):
        ours.append(f"--ignore={OF_WORKLOADS}")
    chosen = PARTS if not paths else {"toolkit": (TOOLKIT, ours), "workloads": (WORKLOADS, theirs)}
    return [(name, env / "bin/python", [*options, *words]) for name, (env, words) in chosen.items() if words]


def summary(tally: Tally) -> str:
    """The closing lines; the very last is alone on its line."""
    shown = ", ".join(
        f"{name} {tally.of(name)}" for name in ("passed", "skipped", "xfailed", "deselected", "rerun")
    )
    failed = max(tally.of("failed"), len([fault for fault in tally.faults if fault]))
    return f"collected {tally.collected}, {shown}\n{tally.of('passed')} passed, {failed} failed"


def main(arguments: list[str] | None = None) -> int:
    """Run the tests that the arguments name, or all of them after lint."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        print(f"lint and all tests: {ABOUT}", flush=True)
    if not arguments and subprocess.run([sys.executable, "-m", "tools.lint"], cwd=ROOT).returncode:
        print("lint failed: no test was run\n0 passed, 1 failed")
        return 1
    # Of this run alone: pytest's usual folder is the user's, and their fourth run at once would empty it.
    scratch = Path(tempfile.mkdtemp(prefix="skerry-tests-"))
    tally = run_suites(suites(arguments), scratch)
    for test, why in tally.failures.items():
        print(f"failed: {test}: {why}")
    faults = judge(tally, None if arguments else modules_with_tests(ROOT))
    for fault in faults:
        print(f"fault: {fault}")
    if arguments:
        print(f"a subset ({' '.join(arguments)}): it shows nothing about the rest")
    if faults:
        print(f"what the tests wrote is kept in {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    print(summary(tally))
    return 1 if faults else 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: every process of the tests was ended")
