"""The rules of a rehearsal over what was recorded: what the order of a program allows a cloud to refuse."""

from __future__ import annotations

from typing import Any

from cli.rehearsal.order import Judged, held, mistakes
from tests.recorder import Recording, Registered


def refused(recording: Recording, judged: Judged | None = None) -> list[str]:
    """Calls that a cloud would refuse when each resource is made as early, and deleted as late, as the order allows."""
    return mistakes([held(state(recording))], {} if judged is None else judged)


def state(recording: Recording) -> dict[str, Any]:
    """A recording in the shape of an exported state, as far as the order is read from one."""
    resources = [entry(made) for made in recording.resources.values() if not made.is_read]
    return {"deployment": {"resources": resources}}


def entry(made: Registered) -> dict[str, Any]:
    return {
        "urn": made.urn,
        "type": made.kind,
        "custom": made.custom,
        "id": made.id,
        "parent": made.parent,
        "provider": made.provider,
        "inputs": dict(made.inputs),
        "outputs": dict(made.computed),
        "dependencies": sorted(made.dependencies),
        "propertyDependencies": {key: sorted(urns) for key, urns in made.property_dependencies.items()},
    }
