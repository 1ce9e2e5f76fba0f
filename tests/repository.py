"""A git repository for tests of what looks at one."""

import subprocess
from pathlib import Path


def empty_repository(folder: Path) -> Path:
    """`folder` as a repository with one commit that holds nothing."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return folder
