"""A stack's state: making it, unlocking it after a crash, reading it, and what is left after a destroy."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cli import running, state_file, turn
from cli.engine import EMBEDDED, ROOT, STATE, EngineError, engine_json, engine_text, uses_default_state
from cli.state_file import StateError

PROJECT = "skerry"


def recover(stack: str) -> None:
    """Makes the stack's state where there is none, and takes away what a run that was killed left in it. It waits for
    another run, and from then on no other one changes the stack until this process ends.

    That only in the state of this clone: a backend of the user's own may be shared with others.
    """
    if stack != EMBEDDED:
        return
    if uses_default_state():
        turn.take(STATE)
    _make(stack)
    if uses_default_state():
        _unlock(stack)
        state_file.prune(STATE, PROJECT, stack)
        _forget_pending(stack)


def unchanged(stack: str) -> int:
    """How many resources the last update found as declared, if it changed none; 0 where that is not known."""
    known = stack == EMBEDDED and uses_default_state()
    return state_file.unchanged_resources(STATE, PROJECT, stack) if known else 0


def outputs(stack: str) -> Any:
    """The stack's outputs.

    Raises:
        EngineError: the stack is not up.
    """
    resources(stack)
    return engine_json(stack, "stack", "output", "--json")


def resources(stack: str) -> list[dict[str, Any]]:
    """Every resource in the stack's state, as the engine stores it. On this machine, sets of processes are shown with
    those that answer now, and the others are named on stderr.

    Raises:
        EngineError: the stack is not up.
    """
    recover(stack)
    found = engine_json(stack, "stack", "export")["deployment"].get("resources")
    if not found:
        raise EngineError(f"stack {stack!r} is not up. Run `make up`, or `./skerry up --stack {stack}`.")
    if stack != EMBEDDED:
        return found
    now = running.as_it_is(found, ROOT)
    if silent := running.missing(found, now):
        print(f"skerry: not running: {', '.join(silent)}. `./skerry up` starts them again.", file=sys.stderr)
    return now


def health(stack: str) -> list[str]:
    """A line for each supervisor of this machine: its programs, and how many processes of each answer."""
    if stack != EMBEDDED:
        return []
    return running.summary(resources(stack))


def sweep(stack: str) -> None:
    """Ends what an interrupted `up` had started without recording it, and removes everything but the state: what a
    destroyed stack had stored is gone, as a destroyed bucket's content is."""
    if stack != EMBEDDED:
        return
    from components.local.provider.lifecycle import ResourceError  # takes long to import, and few need it
    from components.local.provider.supervisor import Supervisor

    try:
        for folder in sorted((ROOT / ".skerry" / "run").glob("*")):
            Supervisor(folder, ROOT).shut_down()
    except ResourceError as error:
        raise EngineError(str(error)) from None
    for path in (ROOT / ".skerry").iterdir():
        if path.is_dir() and path != STATE:
            shutil.rmtree(path)
        elif path != STATE:
            path.unlink()


def _make(stack: str) -> None:
    if uses_default_state():
        known = (STATE / ".pulumi" / "stacks" / PROJECT / f"{stack}.json").exists()
    else:
        listed = engine_json(stack, "stack", "ls", "--json")
        known = any(entry["name"].rpartition("/")[2] == stack for entry in listed)
    if known:
        return
    # `stack init` writes a new salt into the project's stack file; a project of its own keeps ours as committed.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        engine_text(stack, Path(folder), "stack", "init", stack, "--no-select")


def _unlock(stack: str) -> None:
    told = False
    for lock in (STATE / ".pulumi" / "locks" / "organization" / PROJECT / stack).glob("*.json"):
        while lock.exists():
            try:
                held = json.loads(lock.read_text())
            except (OSError, ValueError):
                held = {}
            if held.get("hostname", socket.gethostname()) != socket.gethostname():
                break
            if not _is_engine(held.get("pid", 0)):
                lock.unlink(missing_ok=True)  # its run was killed
                break
            if not told:
                print(
                    f"skerry: waiting for another run on stack {stack!r} (pid {held['pid']})",
                    file=sys.stderr,
                )
                told = True
            time.sleep(1)


def _forget_pending(stack: str) -> None:
    """Operations that were under way when a run was killed: what they had made is adopted or replaced by the next."""
    try:
        state = state_file.read(STATE, PROJECT, stack)
    except StateError as error:
        raise EngineError(str(error)) from None
    if ((state.get("checkpoint") or {}).get("latest") or {}).get("pending_operations"):
        engine_text(stack, ROOT, "refresh", "--yes", "--skip-preview", "--clear-pending-creates")


def _is_engine(pid: int) -> bool:
    try:
        return "pulumi" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False
