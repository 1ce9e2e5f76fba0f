"""Mistakes of a stack file, in the words of the person who wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

SECRET_WORDS = (
    "password",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
)
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Mistake:
    """One thing to mend."""

    path: str
    """Key path below `skerry:stack`, such as regions[1].dial."""
    value: object = field(repr=False)
    """What was given there; not in the repr, which may end in a log."""
    rule: str
    """What holds for it."""
    remedy: str
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.path}: {self._shown()} -- {self.rule}. {self.remedy}."

    def _shown(self) -> str:
        """A scalar; of a list or mapping only the shape, for what is in it may be secret."""
        letters = re.sub(r"[^a-z]", "", self.path.lower())
        if any(word in letters for word in SECRET_WORDS):
            return "(not shown)"
        if isinstance(self.value, Mapping):
            keys = sorted(str(key) for key in cast(Mapping[object, object], self.value))
            return _cut(f"a mapping of {json.dumps(keys)}")
        if isinstance(self.value, list | tuple):
            return f"a list of {len(cast(Sequence[object], self.value))}"
        return _cut(json.dumps(self.value, default=str))


class SettingsError(ValueError):
    """All mistakes of a stack file at once."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        super().__init__(f"skerry:stack has {count}:\n{lines}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
