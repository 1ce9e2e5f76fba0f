"""The environment in which Pulumi's engine runs, and running it.

A backend, a login or a secrets provider of the user's own always wins. What is left open gets a default that needs
no account. Stack `local` alone has an empty passphrase, whatever the shell holds: it keeps no secrets, and its
salt is committed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cli.stack_file import read
from cli.stack_yaml import StackFileError
from tools.engine import engine_path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".skerry" / "state"
EMBEDDED = "local"
"""The stack and the target that run in this clone: its state, folders and ports are one set per clone."""
HANDED_OUT = {"PULUMI_OPTION_REFRESH": "true", "PULUMI_CONFIG_PASSPHRASE": ""}
"""What a shell may still hold of the embedded stack, and another stack must not get."""


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


def environment(stack: str) -> dict[str, str | None]:
    """Variables that bare `pulumi` needs for a stack, on top of the caller's own; None is one to unset.

    Raises:
        EngineError: a stack file that cannot be used; a stack other than `local` without a backend or a secrets
            provider of the user's own.
    """
    file = stack_content(stack)
    variables: dict[str, str | None] = {
        "PATH": os.pathsep.join([*map(str, engine_path()), os.environ.get("PATH", "")]),
        "PULUMI_STACK": stack,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if stack != EMBEDDED:
        _require_own(stack, file)
        stale = [key for key, value in HANDED_OUT.items() if os.environ.get(key) == value]
        return {**variables, **dict.fromkeys(stale)}
    if backend() is None:
        STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
        variables["PULUMI_BACKEND_URL"] = STATE.as_uri()
    if "secretsprovider" not in file:
        variables |= {"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_CONFIG_PASSPHRASE_FILE": None}
    # A reboot leaves processes dead while the state says otherwise: look before planning.
    variables["PULUMI_OPTION_REFRESH"] = "true"
    return variables


def backend() -> str | None:
    """Where the user keeps state, by variable or login; None when nothing is said."""
    if url := os.environ.get("PULUMI_BACKEND_URL"):
        return url
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return json.loads((home / "credentials.json").read_text()).get("current") or None
    except (OSError, ValueError):
        return None


def uses_default_state() -> bool:
    """Whether state lies in .skerry/state, by default or because the user said so."""
    return _is_embedded(backend() or STATE.as_uri())


def run_engine(stack: str, *arguments: str) -> int:
    """Runs the engine on the terminal; returns its exit status."""
    process = subprocess.Popen(["pulumi", *arguments], cwd=ROOT, env=_complete(stack))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the engine has got it too and ends in order; a second one ends it at once


def planned_changes(stack: str) -> dict[str, int] | None:
    """What `up` would do, by operation (`same`, `create`, `update`, ...); None where the preview fails."""
    command = ["pulumi", "preview", "--json", "--non-interactive"]
    with subprocess.Popen(
        command, cwd=ROOT, env=_complete(stack), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        process.wait()
    try:
        return json.loads(output)["changeSummary"] if process.returncode == 0 else None
    except (ValueError, KeyError):
        return None


def engine_json(stack: str, *arguments: str) -> Any:
    """Runs the engine and reads the JSON that it prints; raises `EngineError` when it fails."""
    return json.loads(engine_text(stack, ROOT, *arguments))


def engine_text(stack: str, cwd: Path, *arguments: str) -> str:
    """Runs the engine in a folder and returns what it prints; raises `EngineError` when it fails."""
    done = subprocess.run(
        ["pulumi", *arguments], cwd=cwd, env=_complete(stack), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise EngineError(f"`pulumi {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _complete(stack: str) -> dict[str, str]:
    merged = {**os.environ, **environment(stack)}
    return {key: value for key, value in merged.items() if value is not None}


def stack_content(stack: str) -> Mapping[str, Any]:
    """The content of the stack's file.

    Raises:
        EngineError: there is no such file, or it cannot be used.
    """
    path = stack_file(stack)
    label = str(path.relative_to(ROOT))
    try:
        content = read(path, label)
    except StackFileError as error:
        raise EngineError(str(error)) from None
    if stack == EMBEDDED and not {"encryptionsalt", "secretsprovider"} & set(content):
        raise EngineError(
            f"{label}: `encryptionsalt:` is missing, and the engine would write one into the file, even in a preview. "
            f"Restore the line from the committed file: git show HEAD:{label} | tail -1 >> {label}"
        )
    return content


def _require_own(stack: str, file: Mapping[str, Any]) -> None:
    """Refuses what belongs to the embedded stack, and the lack of what it would stand in for."""
    name = stack_file(stack).name
    settings = file.get("config", {}).get("skerry:stack")
    target = settings.get("target") if isinstance(settings, dict) else None
    if isinstance(target, dict) and target.get("name") == EMBEDDED:
        raise EngineError(
            f"{name}: target.name: {EMBEDDED!r} runs as stack {EMBEDDED!r} only, because folders and ports of a "
            f"clone are one set. Change stacks/Pulumi.{EMBEDDED}.yaml, or use another clone with another port."
        )
    own = backend()
    if own is None:
        raise EngineError(
            f"stack {stack!r} has no backend: the local state in .skerry/state is for stack {EMBEDDED!r} only. "
            "Run `pulumi login` or set PULUMI_BACKEND_URL (such as s3://BUCKET?region=REGION&awssdk=v2)."
        )
    if _is_embedded(own):
        raise EngineError(
            f"backend: {own} is the state of stack {EMBEDDED!r}, not a place for {stack!r}. Unset it "
            "(`unset PULUMI_BACKEND_URL`, `pulumi logout`) and log in to a backend of your own."
        )
    passphrase = os.environ.get("PULUMI_CONFIG_PASSPHRASE") or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if "secretsprovider" not in file and not passphrase:
        raise EngineError(
            f"stack {stack!r} has no secrets provider: the empty passphrase is for stack {EMBEDDED!r} only. Set "
            "`secretsprovider:` in its file (awskms://..., gcpkms://...) or PULUMI_CONFIG_PASSPHRASE_FILE."
        )
    salt = file.get("encryptionsalt")
    if salt is not None and salt == stack_content(EMBEDDED).get("encryptionsalt"):
        raise EngineError(
            f"encryptionsalt: {name} carries the public salt of stack {EMBEDDED!r}. Remove the line; "
            "`pulumi stack init` writes one of its own."
        )


def _is_embedded(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "file" and Path(unquote(parts.path)).resolve() == STATE.resolve()
