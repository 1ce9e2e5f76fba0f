"""What address ranges can hold. Pure.

Source: Google's pages "VPC-native clusters" (limits of the ranges; a node takes a block of pods of its own, a /24 with
the default of 110 pods per node) and "Subnets" (four addresses of a primary range are reserved), read 2026-11-24.
"""

from __future__ import annotations

PREFIXES = {"nodes": (8, 29), "pods": (9, 21), "services": (16, 27)}
"""Range -> shortest and longest prefix that GKE takes."""
PODS_PREFIX = 24
"""Of the block of pods that a node takes."""
RESERVED_ADDRESSES = 4
"""Of a primary range."""
SYSTEM_NODES_PER_ZONE = 3
"""Most nodes of a cluster's system pool, which carries the gateways beside what GKE runs."""


def nodes_with_addresses(prefix: int) -> int:
    """Nodes that a primary range has addresses for."""
    return max(0, 2 ** (32 - prefix) - RESERVED_ADDRESSES)


def nodes_with_pods(prefix: int) -> int:
    """Nodes that find a block of pods in a secondary range."""
    return 2 ** max(0, PODS_PREFIX - prefix)


HOLDS = {"nodes": nodes_with_addresses, "pods": nodes_with_pods}
"""Range -> what its prefix says about nodes."""


def longest_prefix(use: str, nodes: int) -> int:
    """The smallest range of a use that holds so many nodes, as its prefix."""
    shortest, longest = PREFIXES[use]
    return next((prefix for prefix in range(longest, shortest, -1) if HOLDS[use](prefix) >= nodes), shortest)
