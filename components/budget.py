"""Counting what is placed on a node pool, so that what does not fit is refused beforehand."""

from __future__ import annotations

from components.contracts import CapacityError


class Budget:
    """Nodes of one pool in one region: a training worker or a replica takes one."""

    def __init__(self, pool: str, region: str, max_nodes: int) -> None:
        self.pool, self.region, self.max_nodes = pool, region, max_nodes
        self._taken = 0

    def take(self, nodes: int, user: str) -> None:
        """Places a user on nodes.

        Raises:
            CapacityError: fewer nodes are left.
        """
        left = self.max_nodes - self._taken
        if nodes > left:
            raise CapacityError(
                f"{user} asks for {nodes} nodes of pool {self.pool!r} in region {self.region!r}, "
                f"which has {left} of {self.max_nodes} left. "
                "Raise the pool's max_nodes or ask for fewer workers or replicas."
            )
        self._taken += nodes
