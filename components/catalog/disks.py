"""How large the disks of nodes are, and what of them pods may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NodeDisk:
    """The volume of a node that holds images, logs and scratch folders, in GiB."""

    gib: int
    """All of it."""
    pods_gib: int
    """What is left for pods: images, logs and what the kubelet keeps free take the rest."""


POOL_DISKS: Mapping[str, NodeDisk] = {"aws": NodeDisk(100, 69), "gcp": NodeDisk(200, 104)}
"""Target -> disk of a node in a pool.

GCP: GKE reserves the least of 50 %, 6 GiB + 35 % and 100 GiB of a boot disk and evicts pods when less than 10 % is free
(Google's page "Plan GKE Standard node sizes", by way of two public repositories that repeat the formula, read
2026-12-01). AWS: the kubelet evicts when less than 10 % is free, and images take space of the same volume: 20 GiB are
kept for two of 10 GiB, one before and one after an update, and 1 GiB for the kubelet. That EKS on Bottlerocket reserves
1 GiB is unresolved: from memory, not looked up.
"""
SYSTEM_DISKS: Mapping[str, NodeDisk] = {"aws": NodeDisk(100, 69), "gcp": NodeDisk(64, 29)}
"""Target -> disk of a system node, by the same rules."""
LOGS_GIB = 1
"""What a pod's logs may take of its part. The kubelet keeps 5 files of 10 MiB for a container (its settings
containerLogMaxFiles and containerLogMaxSize; unresolved: from memory, not looked up)."""
