"""What the server asks of each resource type, and the context it gives them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from components.local.provider.values import Properties


class ResourceError(Exception):
    """An operation that failed; the text is what the user reads (what, value, rule, remedy)."""


@dataclass(frozen=True)
class Context:
    """What every operation may need from its surroundings."""

    root: Path
    """Folder of the project; every relative path and command is resolved against it."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the engine asks to stop (Ctrl-C): every wait looks at it."""
    report: Callable[[str, str], None] = lambda urn, line: None
    """Shows a passing line of progress beside a resource (URN, text)."""


@dataclass(frozen=True)
class Change:
    """What an update would do: the properties that differ, and which of them force a replacement."""

    changed: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()


class Lifecycle(Protocol):
    """One resource type. `inputs` are what the program declared, `state` is what the last operation returned."""

    def check(self, inputs: Properties, state: Properties | None) -> tuple[Properties, dict[str, str]]:
        """Completed inputs, and a reason for each property that is refused."""
        ...

    def diff(self, state: Properties, inputs: Properties) -> Change:
        """Compares the state with checked inputs, which may hold unknowns."""
        ...

    def preview(self, state: Properties | None, inputs: Properties) -> Properties:
        """The state as far as it can be told before anything is done."""
        ...

    def create(self, urn: str, inputs: Properties) -> tuple[str, Properties]:
        """Makes it; returns id and state. Leaves nothing behind when it raises `ResourceError`."""
        ...

    def read(self, state: Properties) -> Properties | None:
        """The state as it really is, None when it is gone."""
        ...

    def update(self, urn: str, state: Properties, inputs: Properties) -> Properties:
        """Changes it in place; on `ResourceError` the old state stands again."""
        ...

    def delete(self, state: Properties) -> None:
        """Removes it; removing what is gone is no error."""
        ...
