"""No test bounds a wait by seconds of its own: on a machine that does much else they are always too few."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import waiting

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))
WAITS = {"wait", "communicate", "settimeout", "join", "acquire", "wait_for", "wait_procs", "result", "until"}
CLOCKS = {"monotonic", "perf_counter", "time"}
LEAST = 1
"""Seconds. A shorter time-out is not a bound: the test wants it to run out."""


def called(node: ast.AST) -> str:
    """The last part of what a call calls."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def own_seconds(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value >= LEAST


def bounds(source: str) -> Iterator[int]:
    """Lines that wait for a number of seconds, or that look at how many have passed."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [word.value for word in node.keywords if word.arg == "timeout"]
            if called(node) in WAITS:
                given += node.args
            if any(map(own_seconds, given)):
                yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            if called(node.left) in CLOCKS and own_seconds(node.right):
                yield node.lineno
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            differences = [
                side for side in sides if isinstance(side, ast.BinOp) and isinstance(side.op, ast.Sub)
            ]
            if any(called(part) in CLOCKS for side in differences for part in (side.left, side.right)):
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_waits_for_a_number_of_seconds_of_its_own(path: Path) -> None:
    assert list(bounds(path.read_text())) == [], "use tests.waiting: until, or HANG_SECONDS as a time-out"


@pytest.mark.parametrize(
    "line",
    [
        "process.wait(60)",
        "process.communicate(timeout=30)",
        "urlopen(url, timeout=5)",
        "deadline = time.monotonic() + 60",
        "assert time.monotonic() - began < 60",
        "psutil.wait_procs(family, timeout=20)",
    ],
)
def test_a_wait_for_seconds_would_be_found(line: str) -> None:
    assert list(bounds(line)) == [1]


def test_a_time_out_that_is_to_run_out_and_the_common_bound_are_left_alone() -> None:
    assert list(bounds("read(timeout=0.5)\nprocess.wait(HANG_SECONDS)\nstart = time.time() + age")) == []


def test_a_drawn_example_may_take_as_long_as_it_takes() -> None:
    profile = hypothesis.settings()
    assert profile.deadline is None
    assert hypothesis.HealthCheck.too_slow in profile.suppress_health_check


def test_a_wait_returns_what_it_waited_for_and_fails_with_what_there_is_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([None, "", "here"])
    assert waiting.until(lambda: next(answers)) == "here"
    monkeypatch.setattr(waiting, "HANG_SECONDS", 0)
    with pytest.raises(AssertionError, match=r"waited in vain\. its log"):
        waiting.until(lambda: False, lambda: "its log")
