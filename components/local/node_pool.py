"""A node pool of this machine: slots that placement counts."""

from __future__ import annotations

from typing import TypedDict

import pulumi
from pulumi import ResourceOptions

from components.budget import Budget


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
        self.threads = args["threads_per_node"]
        self.budget = Budget(args["pool"], args["region"], args["max_nodes"])
        self.register_outputs({"maxNodes": args["max_nodes"], "threadsPerNode": self.threads})
