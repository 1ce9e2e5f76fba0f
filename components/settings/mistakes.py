"""Mistakes of a stack file, in the words of the person who wrote it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

SECRET_WORDS = (
    "password",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "credential",
)
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Mistake:
    """One thing to mend."""

    path: str
    """Key path below `skerry:stack`, such as regions[1].dial."""
    value: object
    """What was given there."""
    rule: str
    """What holds for it."""
    remedy: str
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.path}: {self._shown()} -- {self.rule}. {self.remedy}."

    def _shown(self) -> str:
        if any(word in self.path.lower() for word in SECRET_WORDS):
            return "(not shown)"
        text = json.dumps(self.value, default=str)
        return (
            text
            if len(text) <= SHOWN_CHARACTERS
            else f"{text[: SHOWN_CHARACTERS - 3]}..."
        )


class SettingsError(ValueError):
    """All mistakes of a stack file at once."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = (
            "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        )
        lines = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        super().__init__(f"skerry:stack has {count}:\n{lines}")
