"""The environment in which Pulumi's engine runs, and running it.

What a user has set always wins: a backend, a login, a secrets provider. What is left open gets a default that
needs no account. Stack `local` alone gets an empty passphrase: it holds no secrets, and its salt is committed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tools.engine import engine_path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".skerry" / "state"
EMBEDDED_STACK = "local"


class EngineError(Exception):
    """What cannot be done, why, and what to do instead."""


def stack_file(stack: str) -> Path:
    """The stack's file.

    Raises:
        EngineError: there is none; those that exist are named.
    """
    path = ROOT / "stacks" / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(file.name.split(".")[1] for file in path.parent.glob("Pulumi.*.yaml"))
        raise EngineError(
            f"--stack: {stack!r} has no file {path.relative_to(ROOT)}. Stacks of this project: {', '.join(known)}."
        )
    return path


def environment(stack: str) -> dict[str, str]:
    """Variables that bare `pulumi` needs for a stack, on top of the caller's own.

    Raises:
        EngineError: a cloud stack without a backend or a secrets provider of the user's own.
    """
    file = yaml.safe_load(stack_file(stack).read_text()) or {}
    variables = {
        "PATH": os.pathsep.join([*map(str, engine_path()), os.environ.get("PATH", "")]),
        "PULUMI_STACK": stack,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if stack == EMBEDDED_STACK:
        if not _has_backend():
            STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
            variables["PULUMI_BACKEND_URL"] = STATE.as_uri()
        if "secretsprovider" not in file:
            variables["PULUMI_CONFIG_PASSPHRASE"] = ""
        # A reboot leaves processes dead while the state says otherwise: look before planning.
        variables["PULUMI_OPTION_REFRESH"] = "true"
        return variables
    if not _has_backend():
        raise EngineError(
            f"stack {stack!r} has no backend: the local state in .skerry/state is for stack {EMBEDDED_STACK!r} "
            "only. Run `pulumi login` or set PULUMI_BACKEND_URL (such as s3://BUCKET?region=REGION&awssdk=v2)."
        )
    if _uses_embedded_backend():
        raise EngineError(
            f"PULUMI_BACKEND_URL: {os.environ['PULUMI_BACKEND_URL']} is the state of stack {EMBEDDED_STACK!r}, "
            f"not a place for {stack!r}. Unset it (`unset PULUMI_BACKEND_URL`) and log in to a backend of your own."
        )
    if "secretsprovider" not in file and not _has_passphrase():
        raise EngineError(
            f"stack {stack!r} has no secrets provider: the empty passphrase is for stack {EMBEDDED_STACK!r} only. "
            "Set `secretsprovider:` in its file (awskms://..., gcpkms://...) or PULUMI_CONFIG_PASSPHRASE_FILE."
        )
    if file.get("encryptionsalt") == _embedded_salt():
        raise EngineError(
            f"encryptionsalt: {stack_file(stack).name} carries the public salt of stack {EMBEDDED_STACK!r}. Remove "
            "the line; `pulumi stack init` writes one of its own."
        )
    return variables


def run_engine(stack: str, *arguments: str) -> int:
    """Runs the engine on the terminal; returns its exit status."""
    process = subprocess.Popen(["pulumi", *arguments], cwd=ROOT, env=_complete(stack))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the engine has got it too and ends in order; a second one ends it at once


def engine_json(stack: str, *arguments: str) -> Any:
    """Runs the engine and reads the JSON that it prints.

    Raises:
        EngineError: the engine failed; its own words are in the text.
    """
    done = subprocess.run(
        ["pulumi", *arguments],
        cwd=ROOT,
        env=_complete(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EngineError(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def engine_text(stack: str, cwd: Path, *arguments: str) -> str:
    """Runs the engine in a folder and returns what it prints; raises `EngineError` when it fails."""
    done = subprocess.run(
        ["pulumi", *arguments],
        cwd=cwd,
        env=_complete(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EngineError(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _complete(stack: str) -> dict[str, str]:
    return {**os.environ, **environment(stack)}


def uses_default_state(stack: str) -> bool:
    """Whether the stack's state lies in .skerry/state."""
    return environment(stack).get("PULUMI_BACKEND_URL") == STATE.as_uri() or _uses_embedded_backend()


def _has_backend() -> bool:
    if os.environ.get("PULUMI_BACKEND_URL"):
        return True
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return bool(json.loads((home / "credentials.json").read_text()).get("current"))
    except (OSError, ValueError):
        return False


def _uses_embedded_backend() -> bool:
    return os.environ.get("PULUMI_BACKEND_URL", "").rstrip("/") == STATE.as_uri()


def _has_passphrase() -> bool:
    return bool(os.environ.get("PULUMI_CONFIG_PASSPHRASE") or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"))


def _embedded_salt() -> str | None:
    return (yaml.safe_load(stack_file(EMBEDDED_STACK).read_text()) or {}).get("encryptionsalt")
