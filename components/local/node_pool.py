"""A node pool of this machine: slots that placement counts."""

from __future__ import annotations

from typing import TypedDict

import pulumi
from pulumi import ResourceOptions

from components.contracts import CapacityError


class LocalNodePoolArgs(TypedDict):
    """Args of `LocalNodePool`."""

    region: str
    """Region that the slots are in."""
    pool: str
    """What the stack file calls the pool."""
    max_nodes: int
    """Slots: a training worker or a replica takes one."""
    threads_per_node: int
    """Threads that what runs in a slot may use."""


class LocalNodePool(pulumi.ComponentResource):
    """Slots with threads. They are not enforced by the kernel; what does not fit is refused beforehand."""

    def __init__(self, name: str, args: LocalNodePoolArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:LocalNodePool", name, dict(args), opts)
        self.name, self.region = args["pool"], args["region"]
        self.max_nodes = args["max_nodes"]
        self.threads = args["threads_per_node"]
        self._taken = 0
        self.register_outputs({"maxNodes": self.max_nodes, "threadsPerNode": self.threads})

    def take(self, nodes: int, user: str) -> None:
        """Places a user on nodes.

        Raises:
            CapacityError: fewer nodes are left.
        """
        left = self.max_nodes - self._taken
        if nodes > left:
            raise CapacityError(
                f"{user} asks for {nodes} nodes of pool {self.name!r} in region {self.region!r}, "
                f"which has {left} of {self.max_nodes} left. "
                "Raise the pool's max_nodes or ask for fewer workers or replicas."
            )
        self._taken += nodes
