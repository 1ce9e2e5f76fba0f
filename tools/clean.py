"""`make clean`: remove .tools and .skerry, unless a stack is still up."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tools.paths import ROOT


def stacks_up(skerry: Path) -> list[str]:
    """The stacks whose state in .skerry still holds resources."""
    up: list[str] = []
    for file in sorted((skerry / "state").rglob("stacks/**/*.json")):
        try:
            deployment = json.loads(file.read_text()).get("checkpoint", {}).get("latest") or {}
        except (OSError, ValueError, AttributeError):
            up.append(f"{file.stem} (its state cannot be read: {file})")
            continue
        if deployment.get("resources"):
            up.append(file.stem)
    return up


def clean(root: Path = ROOT) -> int:
    """Remove what was made, or say what is still up."""
    up = stacks_up(root / ".skerry")
    if up:
        print(f"error: still up: {', '.join(up)}\n  remedy: make down, then make clean", file=sys.stderr)
        return 1
    for name in (".tools", ".skerry"):
        shutil.rmtree(root / name, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(clean())
