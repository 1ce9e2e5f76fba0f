"""What of a node's disk a pod may take: its scratch folder and its logs.

A pod that grows beyond its limit is evicted, and when a disk runs full, the kubelet first evicts pods that use more
than they request. So every pod on the system nodes requests all that it may take, and none that keeps to it is evicted
for another.

A pod that has its node alone requests nothing: of a group without nodes the cluster autoscaler of AWS knows a disk only
if a tag of the Auto Scaling group tells it, and otherwise would never buy the first node (kubernetes/autoscaler at
062f28a, README of its AWS provider, "Auto-Discovery Setup", read 2026-12-01).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.catalog.disks import LOGS_GIB
from components.contracts import Placement

RESOURCE = "ephemeral-storage"


@dataclass(frozen=True)
class PodDisk:
    """Disk of a pod of one container."""

    scratch_gib: int
    """Most that the scratch folder may hold, in GiB."""
    alone: bool = False
    """Whether the pod has its node alone."""

    @property
    def volume(self) -> dict[str, Any]:
        """The scratch folder, as a volume's source."""
        return {"emptyDir": {"sizeLimit": f"{self.scratch_gib}Gi"}}

    def added_to(self, resources: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """A container's resources with its disk."""
        limit = f"{self.scratch_gib + LOGS_GIB}Gi"
        return {
            "requests": {**resources.get("requests", {}), RESOURCE: "0" if self.alone else limit},
            "limits": {**resources.get("limits", {}), RESOURCE: limit},
        }


SMALL = PodDisk(scratch_gib=1)
"""Of a pod that keeps no files to speak of: gateways, rendezvous stores and agents."""


def whole(placement: Placement) -> PodDisk:
    """All that pods may take of a pool's node."""
    return PodDisk(placement.disk_gib - LOGS_GIB, alone=True)
