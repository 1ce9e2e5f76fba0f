"""One mutant: its tests are run in a copy of the tree until one fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.mutants.covering import Chosen, Selection
from tools.mutants.draw import Mutant
from tools.mutants.trace import pytest_options, run, test_environment
from tools.sabotage import GREEN, RED, a_copy

KILLED, SURVIVED, UNCOVERED = "killed", "survived", "not covered"
INTERRUPTED, NOT_FOUND = 2, 4
SLACK_S, TIMES = 60.0, 3.0  # a run may take this much longer than its tests took when they were traced


@dataclass(frozen=True)
class Result:
    """How a mutant ended."""

    end: str
    by: str
    """The test that failed, or what else happened."""
    seconds: float


def attempt(root: Path, made: Path, mutant: Mutant, selection: Selection) -> Result:
    """Break a copy and ask the tests that cover the line."""
    began = time.monotonic()

    def result(end: str, by: str) -> Result:
        return Result(end, by, round(time.monotonic() - began, 1))

    if not selection.chosen:
        return result(UNCOVERED, "no test runs this line")
    asked = 0
    with a_copy(root) as copy:
        file = copy / mutant.file
        file.write_text(mutant.applied(file.read_text()))
        for env, chosen in selection.stages():
            if by := killed_by(copy, made / env / "bin/python", chosen):
                return result(KILLED, by)
            asked += sum(len(one.tests) for one in chosen)
    more = f", {selection.left_out} more left out for time" if selection.left_out else ""
    return result(SURVIVED, f"{asked} tests stay green{more}")


def killed_by(copy: Path, python: Path, chosen: list[Chosen]) -> str:
    """What noticed the mutant; empty when every test passed."""
    tests = [test for one in chosen for test in one.tests]
    limit_s = SLACK_S + TIMES * sum(one.seconds for one in chosen)
    listed = copy.parent / "tests.txt"  # too many for a command line
    command = [str(python), "-m", "pytest", "-x", *pytest_options(copy), f"@{listed}"]
    env = test_environment(copy)
    listed.write_text("\n".join(tests))
    status, output = run(command, copy, env, limit_s)
    if status == NOT_FOUND:
        # A parametrized test may have other names now. Whether one of the module fails is what counts.
        listed.write_text("\n".join(dict.fromkeys(one.trace.module for one in chosen)))
        status, output = run(command, copy, env, limit_s)
    if status is None:
        return f"time: ran past {limit_s:.0f} s"
    if status == GREEN:
        return ""
    if status == RED:
        failed = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return failed[0].split(" ", 1)[1].split(" - ")[0] if failed else "a test"
    if status == INTERRUPTED:
        return "a test module that cannot be imported"
    return f"pytest ended with {status}"


class Memory:
    """Results of earlier runs in a JSON file, by mutant and by what its tests run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, dict] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, mutant: Mutant, selection: Selection) -> Result | None:
        """The result, unless the mutant or what its tests run is new."""
        row = self.known.get(mutant.key)
        return Result(**row["result"]) if row and row["tests"] == selection.digest else None

    def put(self, mutant: Mutant, selection: Selection, result: Result) -> None:
        """Remember a result."""
        self.known[mutant.key] = {"tests": selection.digest, "result": asdict(result)}
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.known, indent=1))
        temporary.replace(self.file)


def attempt_all(
    root: Path,
    made: Path,
    chosen: list[tuple[Mutant, Selection]],
    memory: Memory,
    jobs: int,
    show: Callable[[int, Mutant, Result], None],
) -> dict[str, Result]:
    """Try the mutants that are not remembered, `jobs` at a time: results by mutant key."""

    def one(pair: tuple[Mutant, Selection]) -> Result:
        return memory.get(*pair) or attempt(root, made, *pair)

    results: dict[str, Result] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for number, (pair, result) in enumerate(zip(chosen, pool.map(one, chosen), strict=True), 1):
            memory.put(*pair, result)
            results[pair[0].key] = result
            show(number, pair[0], result)
    return results
