"""A pytest plugin that writes down what happened to every test, for tools/run_tests.py to judge.

Loaded by `-p tools.count_tests`; needs nothing but pytest, so that it serves both environments.
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import pytest

COUNTED: tuple[str, ...] = ("passed", "failed", "skipped", "xfailed", "xpassed", "deselected", "rerun")

# Of a failure's message, in characters.
LONGEST = 600


class Counter:
    """Outcomes by test id; a test that failed in any phase failed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.outcomes: dict[str, str] = {}
        self.modules: set[str] = set()
        self.broken: list[str] = []
        self.failures: dict[str, str] = {}
        self.deselected = 0
        self.reruns = 0
        self.skipped_modules = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.nodeid)
        if report.skipped:
            self.skipped_modules += 1

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self.modules.add(os.path.relpath(item.path, session.config.rootpath))
            self.outcomes[item.nodeid] = "not run"
        gc.freeze()  # modules and tests stay to the end: to look through them again and again is a tenth of a run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome: str = report.outcome
        if outcome == "failed":
            self.failures.setdefault(report.nodeid, crash(report))
        if outcome == "rerun":
            self.reruns += 1
        elif hasattr(report, "wasxfail"):
            self.outcomes[report.nodeid] = "xfailed" if outcome == "skipped" else "xpassed"
        elif outcome != "passed":
            self.outcomes[report.nodeid] = outcome
        elif report.when == "call" and self.outcomes[report.nodeid] == "not run":
            self.outcomes[report.nodeid] = "passed"

    def pytest_sessionfinish(self) -> None:
        counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        for outcome in self.outcomes.values():
            counts[outcome] = counts.get(outcome, 0) + 1
        counts["deselected"] += self.deselected
        counts["rerun"] += self.reruns
        counts["skipped"] += self.skipped_modules
        counts["failed"] += len(self.broken)
        told = {"collected": len(self.outcomes), "counts": counts, "modules": sorted(self.modules)}
        self.file.write_text(json.dumps({**told, "broken": self.broken, "failures": self.failures}))


def crash(report: pytest.TestReport) -> str:
    """Where a test failed and the first lines of why: enough to begin with where only a log's end is kept."""
    at = getattr(report.longrepr, "reprcrash", None)
    if at is None:
        return report.longreprtext[-LONGEST:]
    return f"{report.when}, {at.path}:{at.lineno}: {at.message[:LONGEST]}"


def pytest_configure(config: pytest.Config) -> None:
    """Count, where a run asks for it."""
    file = os.environ.get("SKERRY_TEST_COUNTS")
    if file:
        config.pluginmanager.register(Counter(Path(file)))
