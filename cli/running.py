"""What runs at this moment of what a state says: processes end without the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROCESS_SET = "skerry-local:index:ProcessSet"


def as_it_is(resources: Sequence[Mapping[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Resources of a state, each set of processes with those that answer now.

    Args:
        resources: entries of `deployment.resources` of `pulumi stack export`.
        root: folder of the project.
    """
    from components.local.provider.lifecycle import Context  # takes long to import, and few need it
    from components.local.provider.process_set import ProcessSetLifecycle

    lifecycle = ProcessSetLifecycle(Context(root))

    def seen(entry: Mapping[str, Any]) -> dict[str, Any]:
        outputs = entry.get("outputs")
        if entry["type"] != PROCESS_SET or not outputs:
            return dict(entry)
        return {**entry, "outputs": lifecycle.read(outputs) or {**outputs, "running": {}}}

    return [seen(entry) for entry in resources]


def missing(resources: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """Processes that the state says are running and that do not answer, as SUPERVISOR/PROCESS."""
    found: list[str] = []
    for before, after in zip(resources, now, strict=True):
        if before["type"] == PROCESS_SET:
            said, there = (entry.get("outputs", {}).get("running") or {} for entry in (before, after))
            found += [f"{before['outputs']['supervisor']}/{name}" for name in said if name not in there]
    return sorted(found)


def summary(now: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each supervisor: its programs, and how many processes of each answer.

    Args:
        now: what `as_it_is` returned.
    """
    programs: dict[str, list[str]] = {}
    for entry in now:
        outputs = entry.get("outputs") or {}
        if entry["type"] == PROCESS_SET and outputs.get("replicas"):
            name = outputs["program"].removeprefix("_")
            answering = len(outputs.get("running") or {})
            programs.setdefault(outputs["supervisor"], []).append(
                f"{name} {answering} of {outputs['replicas']}"
            )
    return [
        f"{supervisor} answers: {', '.join(sorted(programs[supervisor]))}" for supervisor in sorted(programs)
    ]
