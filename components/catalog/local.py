"""What this machine has: processors, cut into slots."""

from __future__ import annotations

from collections.abc import Mapping

from components.catalog.rows import Machine

MACHINES: Mapping[str, Machine] = {
    "cpu": Machine(
        machine_type="slot",
        count=0,
        regions=None,
        fabric="loopback",
        source="a slot of target local, defined in components/local/node_pool.py",
        as_of="2026-11-23",
    ),
}
