"""Which code trained a model: the digest of the workload's sources, and the commit they are of where there is one."""

import hashlib
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent


def source_digest() -> str:
    """`sha256:` and the digest over name and content of every source file of the training."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(PACKAGE).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def commit() -> str:
    """The commit that last touched the training's sources, `+changes` behind it where they differ from it.

    Empty for an image or an installed package, which are in no repository: there the digest says which code it is.
    """
    last = _git("log", "-1", "--format=%H", "--", ".")
    return f"{last}+changes" if last and _git("status", "--porcelain", "--", ".") else last


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):  # there is no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
