"""Names of node groups, by which the autoscaler climbs a pool's ladder. Pure.

It compares the names of Auto Scaling groups with expressions, the highest priority first (kubernetes/autoscaler,
expander/priority/readme.md, read 2026-11-24), and EKS calls a group `eks-`, the node group's name and an id (a log in
issue 7663 there, same day). So a name ends in its rung: place and kind. The expressions hold for every pool, those of a
later `up` included; pools do not mix, since a pod names its pool.
"""

from __future__ import annotations

from components.aws.nodes import LONGEST_GROUP
from components.naming import physical_name
from components.settings.items import Capacity

LONGEST_LADDER = len(Capacity)
LONGEST_RUNG = max(len(f"-{LONGEST_LADDER}-{kind.value}") for kind in Capacity)
KINDS = "|".join(kind.value for kind in Capacity)


def group_name(pool: str, place: int, kind: Capacity) -> str:
    """Name of a rung's node group, before autonaming adds its own end.

    Args:
        pool: region and name of the pool; cut where it is too long.
        place: of the rung in the ladder, from 1.
        kind: what the rung buys.
    """
    return f"{physical_name(pool, limit=LONGEST_GROUP - LONGEST_RUNG)}-{place}-{kind.value}"


def priorities() -> dict[int, list[str]]:
    """Priority -> expressions over names of Auto Scaling groups; what is no rung comes last."""
    rungs = {
        LONGEST_LADDER + 1 - place: [f"-{place}-({KINDS})-[0-9a-f]+-[0-9a-f-]+$"]
        for place in range(1, LONGEST_LADDER + 1)
    }
    return {**{priority + 1: expressions for priority, expressions in rungs.items()}, 1: [".*"]}
