"""Which code trained a model: the digest of the workload's sources, and the commit they are of where there is one."""

import hashlib
import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent
SHARED = sorted(PACKAGE.parent.glob("*.py"))  # what the training uses of both workloads' modules
REVISION = "SKERRY_REVISION"  # the variable in which an image knows its commit


def source_digest() -> str:
    """`sha256:` and the digest over name and content of every source file of the training, and of those beside it."""
    digest = hashlib.sha256()
    for path in (*SHARED, *sorted(PACKAGE.rglob("*.py"))):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(PACKAGE.parent).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def commit() -> str:
    """The commit that last touched the training's sources, `+changes` behind it where they differ from it.

    An image is in no repository and tells the commit that it was built from. Empty for an installed package: there the
    digest says which code it is.
    """
    ours = [str(path) for path in (PACKAGE, *SHARED)]
    last = _git("log", "-1", "--format=%H", "--", *ours)
    if not last:
        return os.environ.get(REVISION, "")
    return f"{last}+changes" if _git("status", "--porcelain", "--", *ours) else last


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):  # there is no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
