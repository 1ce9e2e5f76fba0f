"""What the three ways to an engine share: where they work, what they hand back, how they decline."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tools.paths import MADE, ROOT
from tools.problem import Problem

OLDEST = (3, 250, 0)


class NotServed(Problem):
    """A way that cannot be taken on this machine, and what would open it."""


@dataclass(frozen=True)
class Place:
    """Where an engine is looked for and made."""

    made: Path = MADE
    pins: Path = ROOT / "tools/engine"
    path: str = field(default_factory=lambda: os.environ.get("PATH", os.defpath))
    mirror: str = field(default_factory=lambda: os.environ.get("SKERRY_ENGINE_MIRROR", ""))

    @property
    def engine(self) -> Path:
        """The finished engine."""
        return self.made / "engine"

    @property
    def partial(self) -> Path:
        """The engine in the making, on the same file system."""
        return self.made / "engine.partial"

    @property
    def bin(self) -> Path:
        """Where a way puts its executables."""
        return self.partial / "bin"


@dataclass(frozen=True)
class Made:
    """An engine that a way found or made."""

    way: str
    version: str
    detail: str
    more: dict[str, str] = field(default_factory=dict)
