"""Accelerators by name, and what carries them on each target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """One row of the catalog."""

    name: str
    machine_types: Mapping[str, str]
    """Target -> what a node with it is called there. A target that is missing does not have it."""
    source: str
    """Where the row is from."""
    as_of: str
    """ISO date on which it was read."""


ACCELERATORS = (
    Accelerator(
        name="cpu",
        machine_types={"local": "slot"},
        source="a slot of target local, defined in components/local/node_pool.py",
        as_of="2026-11-23",
    ),
)


def accelerators_on(target: str) -> tuple[str, ...]:
    """Names of the accelerators that a target has, sorted."""
    return tuple(sorted(row.name for row in ACCELERATORS if target in row.machine_types))
