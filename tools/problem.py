"""The one error of the set-up: what went wrong and what to do about it."""

from __future__ import annotations


class Problem(Exception):
    """A failure whose reader can act: `what` happened, and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n  remedy: {remedy}")
        self.what = what
        self.remedy = remedy
