"""A plugin of coverage.py that saves what a process ran several times a second, for one that ends by SIGKILL.

Named in the configuration that tools/mutants/trace.py writes. It works in the processes that tests start; the
process of the tests saves at its end, and a save in the midst of a change of context would mix the two.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

import coverage

EVERY_S = 0.2


def coverage_init(registry: object, options: object) -> None:
    """Start to save, where a test started this process."""
    if "SKERRY_CONTEXT" in os.environ:
        threading.Thread(target=save, name="coverage", daemon=True).start()


def save() -> None:
    """Save until the process ends."""
    while True:
        time.sleep(EVERY_S)
        measured = coverage.Coverage.current()
        if measured is not None:
            # A process at its end saves by itself; what goes wrong beside that must not be in its log.
            with contextlib.suppress(Exception):
                measured.save()
