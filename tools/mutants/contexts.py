"""A pytest plugin that gives coverage.py a context for each test, and for each result that tests share.

Loaded by `-p tools.mutants.contexts`. Results that tests share are those of fixtures with a wider scope than a
function, and of functions that functools.cache remembers. Processes that a test starts find the context in
SKERRY_CONTEXT, which the configuration of coverage names. Lines that run at import have the context "".
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coverage
import pytest

AT_IMPORT, BETWEEN = "", "between"
OF_THE_TREE = ("components", "workloads", "cli", "tools", "tests")


class Contexts:
    """The tests of a run: how long each took, whether it passed, and which shared results it uses."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.numbers: dict[str, str] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.uses: dict[str, set[str]] = {}
        self.context = AT_IMPORT

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

    def use(self, name: str) -> None:
        """Record that the present context uses a shared result."""
        self.uses.setdefault(self.context, set()).add(self.number(name))

    @contextmanager
    def made(self, name: str) -> Iterator[None]:
        """Make a shared result in a context of its own."""
        context, began = self.number(name), time.monotonic()
        before = self.enter(context)
        try:
            yield
        finally:
            self.enter(before)
            self.seconds[context] = round(time.monotonic() - began, 3)

    def used_by(self, context: str) -> list[str]:
        """The shared results that a context uses, and those that they use."""
        found: set[str] = set()
        waiting = [context]
        while waiting:
            new = self.uses.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return sorted(found)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        context = self.number(item.nodeid)
        self.tests[item.nodeid] = {"context": context, "seconds": 0.0, "passed": True}
        self.enter(context)
        definitions = getattr(item, "_fixtureinfo", None)
        for several in definitions.name2fixturedefs.values() if definitions else []:
            for one in several:
                if one.scope != "function":
                    self.use(shared_name(one))
        try:
            return (yield)
        finally:
            self.enter(BETWEEN)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        with self.made(shared_name(fixturedef)):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self.tests[report.nodeid]
        test["seconds"] = round(test["seconds"] + report.duration, 3)
        test["passed"] = test["passed"] and report.passed

    def pytest_sessionfinish(self) -> None:
        tests = {name: {**row, "shared": self.used_by(row["context"])} for name, row in self.tests.items()}
        imported = [AT_IMPORT, *self.used_by(AT_IMPORT)]
        self.file.write_text(json.dumps({"tests": tests, "shared": self.seconds, "imported": imported}))


def shared_name(fixture: pytest.FixtureDef[Any]) -> str:
    """A fixture's name with the place of its definition."""
    return f"{fixture.baseid}::{fixture.argname}"


def remembering(contexts: Contexts) -> Callable[..., Any]:
    """functools.lru_cache, and so functools.cache, whose results have contexts of their own."""
    plain = functools.lru_cache

    def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
        if callable(maxsize):
            return lru_cache()(maxsize)

        def decorate(function: Callable[..., Any]) -> Any:
            if function.__module__.partition(".")[0] not in OF_THE_TREE:
                return plain(maxsize, typed)(function)

            def name(args: tuple[Any, ...], named: dict[str, Any]) -> str:
                of = hash((args, *sorted(named.items())))
                return f"{function.__module__}.{function.__qualname__}:{of}"

            @plain(maxsize, typed)
            def result(*args: Any, **named: Any) -> Any:
                with contexts.made(name(args, named)):
                    return function(*args, **named)

            @functools.wraps(function)
            def called(*args: Any, **named: Any) -> Any:
                contexts.use(name(args, named))
                return result(*args, **named)

            vars(called).update(cache_info=result.cache_info, cache_clear=result.cache_clear)
            return called

        return decorate

    return lru_cache


def pytest_configure(config: pytest.Config) -> None:
    """Record, where a run asks for it."""
    file = os.environ.get("SKERRY_CONTEXTS")
    if file:
        contexts = Contexts(Path(file))
        config.pluginmanager.register(contexts)
        functools.lru_cache = remembering(contexts)
