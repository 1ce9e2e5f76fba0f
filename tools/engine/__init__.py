"""Pulumi's engine, from the first of three ways that serves: PATH, the official archive, a build from source.

`.tools/engine/engine.json` records which way it was; `.tools/engine/bin` holds what the way made.
SKERRY_ENGINE_MIRROR names another site for the official archive: it must serve the path in `releases.json`, and
the digest there holds for it too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tools.engine import archive, build, on_path
from tools.engine.way import Made, NotServed, Place
from tools.problem import Problem
from tools.progress import say

WAYS = (
    ("pulumi on PATH", on_path.find),
    ("the official archive", archive.fetch),
    ("a build from the Go module", build.build),
)


def pins(place: Place) -> str:
    """A hash of everything that decides what an engine of ours is."""
    names = ("releases.json", "go.mod", "go.sum")
    return hashlib.sha256(b"".join((place.pins / name).read_bytes() for name in names)).hexdigest()


def record(place: Place) -> dict[str, str]:
    """What engine.json says; empty when there is none."""
    try:
        return json.loads((place.engine / "engine.json").read_text())
    except (OSError, ValueError):
        return {}


def complete(place: Place | None = None) -> bool:
    """True when the recorded engine still stands, is the one that is pinned, and has its language host."""
    place = place or Place()
    if not stands(place):
        return False
    return record(place)["way"] != "build" or build.wrapped(place.engine / "bin")


def stands(place: Place) -> bool:
    """True when the recorded engine is there and is the one that is pinned."""
    told = record(place)
    if told.get("pins") != pins(place):
        return False
    if told["way"] == "path":
        return on_path.unchanged(told, place)
    return (place.engine / "bin/pulumi").exists()


def ensure(place: Place | None = None) -> None:
    """Try each way in turn; the first that serves is kept. Nothing half done is left behind."""
    place = place or Place()
    if complete(place):
        return
    if stands(place):
        build.wrap(place.engine / "bin")
        say("engine: its language host's wrapper was put right")
        return
    shutil.rmtree(place.partial, ignore_errors=True)
    refusals: list[tuple[str, NotServed]] = []
    try:
        for name, way in WAYS:
            (place.partial / "bin").mkdir(parents=True, exist_ok=True)
            try:
                made = way(place)
            except NotServed as reason:
                say(f"engine: {name} does not serve: {reason.what}")
                refusals.append((name, reason))
                shutil.rmtree(place.partial, ignore_errors=True)
            else:
                keep(place, made)
                say(f"engine: {made.version} from {name}")
                return
    finally:
        shutil.rmtree(place.partial, ignore_errors=True)
    reasons = "\n".join(f"    {name}: {reason.what}" for name, reason in refusals)
    remedies = "\n".join(f"    {reason.remedy}" for _, reason in refusals)
    raise Problem(f"no way to an engine serves:\n{reasons}", f"any one of these:\n{remedies}")


def keep(place: Place, made: Made) -> None:
    """Put the finished engine where it belongs, its record with it."""
    told = {"way": made.way, "version": made.version, "detail": made.detail, "pins": pins(place), **made.more}
    (place.partial / "engine.json").write_text(json.dumps(told, indent=2) + "\n")
    shutil.rmtree(place.engine, ignore_errors=True)
    place.partial.rename(place.engine)


def engine_path(place: Place | None = None) -> list[Path]:
    """The folders to put in front of PATH so that `pulumi` and its language host are found."""
    place = place or Place()
    told = record(place)
    if not told:
        raise Problem("no engine has been set up", "python3 -m tools.setup engine")
    return [] if told["way"] == "path" else [place.engine / "bin"]
