"""A pytest plugin that gives coverage.py a context for each test and for each fixture that tests share.

Loaded by `-p tools.mutants.contexts` under `coverage run`. Processes that a test starts find the context in
SKERRY_CONTEXT, which the configuration of coverage names. Lines that run at import have the context "".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

BETWEEN = "between"


class Contexts:
    """The tests of a run: how long each took, whether it passed, and which shared fixtures it uses."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.numbers: dict[str, str] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        self.shared: dict[str, float] = {}
        self.context = BETWEEN

    def enter(self, context: str) -> str:
        """Make this the context of the lines that follow; the context before."""
        before, self.context = self.context, context
        os.environ["SKERRY_CONTEXT"] = context
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.switch_context(context)
        return before

    def number(self, name: str) -> str:
        """A short name of a context: ids of tests may hold any character."""
        return self.numbers.setdefault(name, f"c{len(self.numbers)}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        definitions = getattr(item, "_fixtureinfo", None)
        used = definitions.name2fixturedefs.values() if definitions else []
        shared = [shared_name(one) for several in used for one in several if one.scope != "function"]
        context = self.number(item.nodeid)
        self.tests[item.nodeid] = {
            "context": context,
            "shared": [self.number(name) for name in shared],
            "seconds": 0.0,
            "passed": True,
        }
        self.enter(context)
        try:
            return (yield)
        finally:
            self.enter(BETWEEN)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        name, began = self.number(shared_name(fixturedef)), time.monotonic()
        before = self.enter(name)
        try:
            return (yield)
        finally:
            self.shared[name] = self.shared.get(name, 0.0) + time.monotonic() - began
            self.enter(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.tests[report.nodeid]
        test["seconds"] = round(test["seconds"] + report.duration, 3)
        test["passed"] = test["passed"] and report.passed

    def pytest_sessionfinish(self) -> None:
        self.file.write_text(json.dumps({"tests": self.tests, "shared": self.shared}))


def shared_name(fixture: pytest.FixtureDef[Any]) -> str:
    """A fixture's name with the place of its definition."""
    return f"{fixture.baseid}::{fixture.argname}"


def pytest_configure(config: pytest.Config) -> None:
    """Record, where a run asks for it."""
    file = os.environ.get("SKERRY_CONTEXTS")
    if file:
        config.pluginmanager.register(Contexts(Path(file)))
