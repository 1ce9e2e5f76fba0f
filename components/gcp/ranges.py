"""What address ranges can hold. Pure.

Limits are those of ranges that a user makes, as here; for ranges that GKE makes they are narrower. Source: the tables
and formulas of Google's page "VPC-native clusters", read in public notes that quote them, 2026-11-24; the page itself
was not opened. google/skills at 1af77752, skills/cloud/gke-networking, has the /24 per node with 110 pods. Public notes
on Google's page "Subnets" have the four reserved addresses. Unresolved: the quoted table takes one more address for
clusters on Private Service Connect, and nothing found says whether one without IP endpoints is among them.
"""

from __future__ import annotations

PREFIXES = {"nodes": (8, 29), "pods": (9, 24), "services": (16, 28)}
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
