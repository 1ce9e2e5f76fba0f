"""Takes one order away in memory and runs the tests of order, in a process of its own."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from tools.ordering.sites import Site

TESTS = "tests/contract/test_order.py"
OWN = ("cli", "components", "tests", "tools.rehearsal")
"""Packages that are imported again for each attempt; the clouds' SDKs are not."""
STACKS = {"components/aws/": "aws", "components/gcp/": "gcp", "components/local/": "local"}
"""Folder -> the stacks whose order its files make; the files of other folders make that of every cluster."""
FAILED = pytest.ExitCode.TESTS_FAILED


@dataclass(frozen=True)
class Result:
    """What became of an attempt."""

    noticed: str
    """The test that failed, and what it says; empty where none did."""
    broken: str = ""
    """Why nothing was found out: a test failed with another error than an assertion."""


class _Noted:
    """Notes the first failure of a run."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, type[BaseException], str]] = []

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        self.failures.append((node.nodeid, call.excinfo.type, str(call.excinfo.value)))


class _Without(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another text."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.module = site.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.module else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.site.file
        exec(compile(self.site.text, self.site.file, "exec"), vars(module))


def forget() -> None:
    """Lets the next import read this project's modules again."""
    for name in [name for name in sys.modules if f"{name}.".startswith(tuple(f"{own}." for own in OWN))]:
        del sys.modules[name]


def run(tests: str, chosen: str = "") -> Result:
    """Runs tests in this process, up to the first that fails; all of them, or those that pytest's `-k` chooses."""
    noted = _Noted()
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", *(["-k", chosen] if chosen else [])]
    status = pytest.main([*options, tests], plugins=[noted])
    if not noted.failures:
        return Result("", "" if status == 0 else f"pytest ended with {status!r}")
    test, kind, words = noted.failures[0]
    if status != FAILED or not issubclass(kind, AssertionError):
        return Result("", f"{test}: {kind.__name__}: {words}")
    return Result(f"{test}: {words}")


def attempts(chosen: Sequence[tuple[Site, str]], jobs: int) -> Iterator[tuple[Site, Result]]:
    """Each site with what its tests say without it, in the order given."""
    context = multiprocessing.get_context("fork")  # what was imported of the SDKs comes with it
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        yield from zip((site for site, _ in chosen), pool.imap(_attempt, chosen, chunksize=1), strict=True)


def _attempt(chosen: tuple[Site, str]) -> Result:
    site, tests = chosen
    return quietly(lambda: _without(site, tests))


def _without(site: Site, tests: str) -> Result:
    forget()
    sys.meta_path.insert(0, _Without(site))
    stacks = next((name for folder, name in STACKS.items() if site.file.startswith(folder)), "not local")
    return run(tests, f"everything and {stacks}" if tests == TESTS else "")


def quietly(ask: Callable[[], Result]) -> Result:
    """Runs with the output of this process thrown away."""
    kept = [os.dup(number) for number in (1, 2)]
    with open(os.devnull, "w") as nothing:
        for number in (1, 2):
            os.dup2(nothing.fileno(), number)
        try:
            return ask()
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
