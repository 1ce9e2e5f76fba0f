"""What a rehearsal wants of its account, and what the account was asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tools.rehearsal.ledger import CALLS, ORDERS


@dataclass(frozen=True)
class Asked:
    """A call that the account answered."""

    call: str
    urn: str
    judged: tuple[str, ...]
    """Rules that the call concerned."""
    refused: str
    """The rule that refused it, or nothing."""


@dataclass
class Orders:
    """Args: folder: of the rehearsal."""

    folder: Path
    _given: int = field(default=0)

    def give(self, *, objects: bool = False, refuse_create: int = 0) -> None:
        """Says from now on whether every bucket holds objects, and which creation is refused: 1 is the next one, 0 is
        none."""
        self._given += 1  # so that the same orders given again count from 1 again
        content = {"number": self._given, "objects": objects, "refuse_create": refuse_create}
        (self.folder / ORDERS).write_text(json.dumps(content))

    def asked(self, since: int = 0) -> list[Asked]:
        """The calls, in their order, without the first ones."""
        path = self.folder / CALLS
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            Asked(**{**entry, "judged": tuple(entry["judged"])}) for entry in map(json.loads, lines[since:])
        ]
