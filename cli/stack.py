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

from cli.engine import ROOT, STATE, engine_json, engine_text, uses_default_state
from components.local.provider.supervisor import Supervisor

PROJECT = "skerry"


def recover(stack: str) -> None:
    """Makes the stack's state where there is none, and takes away what a killed run left.

    Only in the default state: a backend of the user's own may be shared with others.
    """
    if not uses_default_state(stack):
        return
    _make(stack)
    _unlock(stack)


def outputs(stack: str) -> Any:
    """The stack's outputs; raises `EngineError` when the stack is not up."""
    return engine_json(stack, "stack", "output", "--json")


def resources(stack: str) -> list[dict[str, Any]]:
    """Every resource in the stack's state, as the engine stores it."""
    deployment = engine_json(stack, "stack", "export")["deployment"]
    return deployment.get("resources") or []


def sweep(stack: str) -> None:
    """Ends what an interrupted `up` had started without recording it, and removes what it had half written."""
    if not uses_default_state(stack):
        return
    for folder in sorted((ROOT / ".skerry" / "run").glob("*")):
        Supervisor(folder, ROOT).shut_down()
    for name in ("run", "etc", "failed"):
        shutil.rmtree(ROOT / ".skerry" / name, ignore_errors=True)
    tiers = ROOT / ".skerry" / "tiers"
    for path in sorted(tiers.rglob(".*"), reverse=True):
        shutil.rmtree(path, ignore_errors=True)
    for path in sorted((path for path in tiers.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if tiers.is_dir() and not any(tiers.iterdir()):
        tiers.rmdir()


def _make(stack: str) -> None:
    if (STATE / ".pulumi" / "stacks" / PROJECT / f"{stack}.json").exists():
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


def _is_engine(pid: int) -> bool:
    try:
        return "pulumi" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False
