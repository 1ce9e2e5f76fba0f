"""Slices of TPUs. Pure.

A slice is a topology of chips, such as 4x4. On hosts with fewer chips it spans several, and its node pool is then one
slice: GKE takes it from zero to all of its hosts and back, never to a part, in one zone. Source: Google's pages on the
cluster autoscaler ("Autoscaling TPUs in GKE") and on TPUs in GKE ("Multi-host TPU slice node pools"), read 2026-11-24.
"""

from __future__ import annotations

from math import prod


def hosts_of(topology: str, chips_per_host: int) -> int:
    """Nodes of a slice.

    Args:
        topology: such as 2x4 or 2x2x1.
        chips_per_host: chips of one node.
    """
    chips = prod(int(side) for side in topology.split("x"))
    return -(-chips // chips_per_host)
