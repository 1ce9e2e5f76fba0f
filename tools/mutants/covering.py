"""The tests that cover a mutant, in the order in which they are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools.mutants.draw import Mutant
from tools.mutants.trace import Trace, environment_of

BUDGET_S = 240.0
"""Of recorded time of tests for one mutant: what covers a line is asked until this much is spent."""


@dataclass
class Chosen:
    """Tests of one module that cover a mutant."""

    trace: Trace
    tests: list[str]
    direct: bool
    """Whether they run the line themselves; otherwise their module imports it."""
    seconds: float = 0.0


@dataclass
class Selection:
    """What is asked about a mutant, and what was left out for time."""

    chosen: list[Chosen] = field(default_factory=list)
    left_out: int = 0

    @property
    def digest(self) -> str:
        """A hash over everything that the chosen tests run."""
        words = {text for one in self.chosen for text in (one.trace.digest, *one.tests)}
        return hashlib.sha256("\0".join(sorted(words)).encode()).hexdigest()

    def stages(self) -> list[tuple[str, list[Chosen]]]:
        """Runs of pytest in order: the quickest modules of each environment first, then the others."""
        first, rest = self.chosen[:FIRST], self.chosen[FIRST:]
        found: list[tuple[str, list[Chosen]]] = []
        for part in (first, rest):
            for env in ("toolkit", "workloads"):
                of_env = [one for one in part if environment_of(one.trace.module) == env]
                if of_env:
                    found.append((env, of_env))
        return found


FIRST = 3  # modules asked before the others; most mutants end here


def select(mutant: Mutant, traces: Iterable[Trace], budget_s: float = BUDGET_S) -> Selection:
    """The passed tests that run the mutant's statement; for one that runs at import, those that import it too."""
    found = [one for trace in traces if (one := covering(mutant, trace)) is not None]
    found.sort(key=lambda one: (not one.direct, distance(mutant.file, one.trace.module), one.seconds))
    selection, spent = Selection(), 0.0
    for one in found:
        if selection.chosen and spent + one.seconds > budget_s:
            selection.left_out += len(one.tests)
            continue
        spent += one.seconds
        selection.chosen.append(one)
    return selection


def distance(file: str, module: str) -> int:
    """How far a test module is from a file by its name: 0 for `gcp/test_quota.py` and `gcp/quota.py`."""
    code, tests = Path(file), Path(module)
    return (tests.stem != f"test_{code.stem}") + 2 * (code.parent.name not in tests.parts)


def covering(mutant: Mutant, trace: Trace) -> Chosen | None:
    """Tests of one module that cover a mutant, quickest first."""
    by_line = trace.contexts(mutant.file)
    at_line = set().union(*(by_line.get(line, set()) for line in mutant.lines))
    anywhere = set().union(*by_line.values()) if by_line else set()
    direct = tests_in(trace, at_line)
    if at_line & set(trace.imported):
        # What is made at import is used by code that runs later: first by tests that run code of the same file.
        near = tests_in(trace, anywhere)
        tests = dict.fromkeys([*direct, *near, *tests_in(trace, None)])
        return choice(trace, list(tests), bool(direct or near))
    return choice(trace, direct, True) if direct else None


def tests_in(trace: Trace, contexts: set[str] | None) -> list[str]:
    """Passed tests with one of the contexts, their own or that of a shared fixture; all for None."""
    rows = [
        (row["seconds"], name)
        for name, row in trace.tests.items()
        if row["passed"] and (contexts is None or contexts & {row["context"], *row["shared"]})
    ]
    return [name for _, name in sorted(rows)]


def choice(trace: Trace, tests: list[str], direct: bool) -> Chosen | None:
    """The tests with their recorded time, shared fixtures included."""
    if not tests:
        return None
    shared = {name for test in tests for name in trace.tests[test]["shared"]}
    seconds = sum(trace.tests[test]["seconds"] for test in tests)
    return Chosen(trace, tests, direct, seconds + sum(trace.shared.get(name, 0.0) for name in shared))
