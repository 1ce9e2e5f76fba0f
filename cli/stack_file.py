"""Reading a stack file before the engine does: what it could not use is refused with file, line, rule and remedy."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.stack_yaml import EXPLAINED, StackFileError, parse

KEYS = ("config", "secretsprovider", "encryptedkey", "encryptionsalt", "environment")
"""Top-level keys of a stack file (`ProjectStack` in Pulumi's sdk/go/common/workspace/project.go, read 2026-12-01)."""
SALT_PARTS = 5
"""`v1:SALT:v1:NONCE:TEXT`, as the engine writes it."""


def read(path: Path, label: str) -> Mapping[str, Any]:
    """The content of a stack file, which `label` names.

    Raises:
        StackFileError: it is not UTF-8, not YAML, or holds what no stack file holds.
    """
    text, content = parse(path, label)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StackFileError(f"{label}: must be a mapping of keys such as `config:`; {EXPLAINED}.")
    for key, what in _mistakes(content):
        raise StackFileError(f"{label}, line {_line(text, key)}: {what}.")
    return content


def _mistakes(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong there), in the order in which it should be mended."""
    for key in content:
        if key not in KEYS:
            known = ", ".join(KEYS)
            yield (
                key,
                f"there is no top-level key {key!r}; known: {known}. Move it below `config:`, or remove it",
            )
    config = content.get("config", {})
    if not isinstance(config, dict):
        yield "config", f"`config:` must be a mapping of keys. Write `skerry:stack:` below it; {EXPLAINED}"
        return
    for key, value in config.items():
        if isinstance(value, dict) and set(value) == {"secure"} and not _is_secret(value["secure"]):
            command = f"`pulumi config set --secret {key}`"
            yield key, f"{key}.secure is not text that {command} wrote. Run that command, or remove the key"
    salt = content.get("encryptionsalt")
    if salt is not None and not _is_salt(salt):
        yield (
            "encryptionsalt",
            "is not a salt that the engine wrote (v1:SALT:v1:NONCE:TEXT). Restore the line from the committed file",
        )


def _is_secret(text: object) -> bool:
    """`v1:NONCE:TEXT` of a passphrase, or the one value of a cloud's key."""
    parts = text.split(":") if isinstance(text, str) else []
    return (parts[:1] == ["v1"] and len(parts) == 3 and all(map(_is_base64, parts[1:]))) or (
        len(parts) == 1 and len(parts[0]) >= 16 and _is_base64(parts[0])
    )


def _is_salt(text: object) -> bool:
    parts = text.split(":") if isinstance(text, str) else []
    values = [parts[index] for index in (1, 3, 4)] if len(parts) == SALT_PARTS else []
    return bool(values) and parts[0] == parts[2] == "v1" and all(map(_is_base64, values))


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _line(text: str, key: object) -> int:
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines, 1) if line.strip().strip("\"'").startswith(str(key))]
    return found[0] if found else 1
