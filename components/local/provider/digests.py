"""Digests of files: what a task depends on, and what it left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote

IGNORED_FOLDERS = {"__pycache__", "site-packages", "dist-packages"}


def digest_of_sources(root: Path, patterns: list[str]) -> str:
    """SHA-256 over the files that match, by path relative to the pattern's fixed part and by content.

    Args:
        root: what a relative pattern starts from.
        patterns: a folder and a glob behind `//`, such as `workloads//training/*.py`.

    Raises:
        FileNotFoundError: a pattern that matches nothing.
    """
    total = hashlib.sha256()
    for pattern in sorted(patterns):
        base, _, glob = pattern.partition("//")
        # A link to a file counts as what it holds; `**` enters no link to a folder, which could lead in a circle.
        found = (path for path in (root / base).glob(glob) if path.is_file())
        files = sorted(path for path in found if _counts(path.relative_to(root / base)))
        if not files:
            raise FileNotFoundError(f"sources: {pattern!r} matches no file below {root}.")
        for path in files:
            total.update(f"{path.relative_to(root / base)}\0{digest_of_file(path)}\n".encode())
    return total.hexdigest()


def digest_of_folder(folder: Path) -> str | None:
    """SHA-256 over every file below a folder, None when the folder is not there."""
    if not folder.is_dir():
        return None
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)}\0{digest_of_file(path)}\n".encode())
    return total.hexdigest()


def digest_of_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _counts(path: Path) -> bool:
    return not IGNORED_FOLDERS.intersection(path.parts) and path.suffix != ".pyc"


def folder_of(uri: str) -> Path:
    """The folder behind a `file://` URI, whose spaces and letters beyond ASCII are percent-encoded."""
    return Path(unquote(uri.removeprefix("file://")))
