"""Small repositories with an environment of their own, for tools that run a tree's tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def commit_with_environment(root: Path, first: str = "") -> None:
    """Make `.tools/toolkit` of a tree, and commit the tree.

    Args:
        root: the tree; its .gitignore leaves out .tools.
        first: a line of shell that runs before each start of Python.
    """
    python = root / ".tools/toolkit/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n{first}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=root, check=True)
