"""Waits for states. No test claims how fast something happens, so the only bound is one on a hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

HANG_SECONDS = int(os.environ.get("HANG_SECONDS", "900"))
"""Longer than anything takes on a machine that does much else. A test that reaches it has met a hang."""


def nothing() -> str:
    """Say nothing more."""
    return ""


def until(condition: Callable[[], Any], told: Callable[[], object] = nothing, pause: float = 0.05) -> Any:
    """Return the first true value of `condition`; fail with what `told` says after HANG_SECONDS.

    `pause`: seconds between two looks.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain. {told()}"
        time.sleep(pause)
    return value


def wait_until(condition: Callable[[], Any]) -> bool:
    """Return True as soon as `condition` is true; fail after HANG_SECONDS."""
    return bool(until(condition))
