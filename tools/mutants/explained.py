"""tests/mutants.toml: survivors that stay, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.attempt import KILLED, Result
from tools.mutants.draw import Mutant, mutants_of


@dataclass(frozen=True)
class Explanation:
    """Why no test notices a mutant: `was` and `becomes` are the changed lines, without the space around them."""

    file: str
    was: str
    becomes: str
    reason: str

    def matches(self, mutant: Mutant) -> bool:
        """Whether this explains the mutant."""
        return (self.file, self.was, self.becomes) == (mutant.file, mutant.was, mutant.becomes)


def read(file: Path) -> list[Explanation]:
    """The table; a row without a reason is refused."""
    rows = [Explanation(**row) for row in tomllib.loads(file.read_text()).get("survivor", [])]
    for row in rows:
        if len(row.reason.split()) < 4:
            raise SystemExit(f"mutants: {file.name}: {row.file}: {row.was!r}: give the reason in a sentence")
    return rows


def faults(
    root: Path, rows: Iterable[Explanation], mutants: Iterable[Mutant], results: dict[str, Result]
) -> list[str]:
    """Rows that explain nothing: the mutant cannot be drawn any more, or a test kills it."""
    found: list[str] = []
    tried = [mutant for mutant in mutants if mutant.key in results]
    for row in rows:
        path = root / row.file
        if not path.is_file() or not any(map(row.matches, mutants_of(row.file, path.read_text()))):
            found.append(f"{row.file}: {row.was!r}: no such mutant can be drawn; remove the row")
        elif any(row.matches(one) and results[one.key].end == KILLED for one in tried):
            found.append(f"{row.file}: {row.was!r}: a test kills this mutant; remove the row")
    return found
