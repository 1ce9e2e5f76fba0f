"""The state of the local stack as files: whether it can be read, what restores it, and how much of the past is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

KEPT = 20
"""Updates whose backup and history are kept."""
MOMENT = re.compile(r"[.-](\d{10,})\.")
"""In the names of backups and history: when an update ended, in nanoseconds or seconds."""


class StateError(Exception):
    """What is wrong with the state, and what restores it."""


def read(state: Path, project: str, stack: str) -> dict[str, Any]:
    """The state file of a stack.

    Raises:
        StateError: it cannot be read; the text names the newest backup that can, and the command that restores it.
    """
    file = state / ".pulumi" / "stacks" / project / f"{stack}.json"
    content, wrong = _judged(file)
    if wrong:
        raise StateError(
            f"the state of stack {stack!r} cannot be read: {file} {wrong}. {_remedy(file, state)}"
        )
    return content


def prune(state: Path, project: str, stack: str) -> None:
    """Remove backups and history of all but the newest `KEPT` updates."""
    for kind in ("backups", "history"):
        folder = state / ".pulumi" / kind / project / stack
        dated = [(int(found[1]), file) for file in folder.glob("*") if (found := MOMENT.search(file.name))]
        newest = sorted({moment for moment, _ in dated})[-KEPT:]
        for moment, file in dated:
            if moment not in newest:
                file.unlink(missing_ok=True)


def unchanged_resources(state: Path, project: str, stack: str) -> int:
    """How many resources the last update found as declared, if it changed none; 0 if it changed any."""
    files = sorted((state / ".pulumi" / "history" / project / stack).glob("*.history.json"))
    changes = json.loads(files[-1].read_text()).get("resourceChanges", {}) if files else {}
    return changes["same"] if set(changes) == {"same"} else 0


def _judged(file: Path) -> tuple[dict[str, Any], str]:
    """The content, and what is wrong with it; nothing when it is sound."""
    text = file.read_bytes()
    if not text.strip():
        return {}, "is empty"
    try:
        content = json.loads(text)
    except ValueError as error:
        return {}, f"is no JSON ({error}): it was cut off or overwritten"
    if not isinstance(content, dict) or not isinstance(content.get("checkpoint"), dict):
        return {}, "holds no `checkpoint`, so it is not a state that the engine wrote"
    return content, ""


def _remedy(file: Path, state: Path) -> str:
    for backup in _backups(file, state):
        if not _judged(backup)[1]:
            return f"Its newest readable backup is {backup}. To restore it: cp {quote(str(backup))} {quote(str(file))}"
    return (
        f"No backup can be read. To begin anew: rm {quote(str(file))}, then `./skerry down`, which also ends what "
        "still runs."
    )


def _backups(file: Path, state: Path) -> Iterator[Path]:
    """The one beside the file, then the others, the newest first."""
    beside = file.with_name(f"{file.name}.bak")
    if beside.exists():
        yield beside
    folder = state / ".pulumi" / "backups" / file.parent.name / file.stem
    yield from sorted(folder.glob("*.json"), reverse=True)
