"""Ports for servers of tests, on loopback."""

import random
import socket

LOWEST, BEYOND = 10_000, 32_768
"""Linux hands out none of these by itself; of others, any connection of a test beside this one may take a free one."""


def free_port(count: int = 1) -> int:
    """First of `count` neighbouring ports that are free now."""
    chance = random.SystemRandom()  # suites run side by side, none with the numbers of another
    while True:
        first = chance.randrange(LOWEST, BEYOND - count)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port: int) -> bool:
    """Whether a server could listen there: as the local provider asks, which the workloads' Python cannot import."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
