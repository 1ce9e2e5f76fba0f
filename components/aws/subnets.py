"""Which part of a VPC's range each subnet gets. Pure.

The first quarter of the range holds the small public subnets, and room for what comes later. The other three are the
private subnets of up to three zones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

SHORTEST_PREFIX = 16
"""The largest VPC that AWS makes: a prefix of /16 to /28 (VPC User Guide, "VPC CIDR blocks", read 2026-11-24)."""
LONGEST_PREFIX = 20
"""The smallest that a cluster is of use in: its private subnets are a /22 each. AWS keeps 5 of the 1024 addresses (EC2
API as modelled in botocore 1.44.8, CreateSubnet, read 2026-11-24), and nodes and pods share the others: a node with its
pods takes about 30, so 33 nodes fit into a zone."""
PUBLIC_PREFIX = 26
"""64 addresses. A NAT gateway takes one; a load balancer wants a /27 with 8 free addresses
(awsdocs/elb-application-load-balancers-user-guide, application-load-balancers.md, read 2026-11-24), so that one can be
added in public."""
QUARTERS = 4
MOST_ZONES = QUARTERS - 1


@dataclass(frozen=True)
class ZoneSubnets:
    """The subnets of one availability zone."""

    public: IPv4Network
    """NAT gateway only; no node stands here."""
    private: IPv4Network
    """Nodes, their pods, the load balancer and the interfaces of the control plane, which wants 6 free addresses,
    better 16 (awsdocs/amazon-eks-user-guide, network-reqs.adoc, read 2026-11-24)."""


def plan(cidr: str, zones: Sequence[str]) -> Mapping[str, ZoneSubnets]:
    """The subnets of each zone, by zones in the order of their names: another order of `zones` moves none.

    A zone's place follows from its letter, so those of a, b and c stay where they are whichever others come or go.

    Args:
        cidr: range of the VPC.
        zones: their names, each a region and a letter.

    Raises:
        ValueError: a range of another size, a zone twice, or more zones than places.
    """
    network = IPv4Network(cidr)
    if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
        raise ValueError(
            f"cidr: {cidr} has a prefix of /{network.prefixlen}. "
            f"Choose one of /{SHORTEST_PREFIX} to /{LONGEST_PREFIX}."
        )
    if len(set(zones)) < len(zones) or not 1 <= len(zones) <= MOST_ZONES:
        raise ValueError(f"zones: {', '.join(zones) or 'none'}. Name 1 to {MOST_ZONES} different zones.")
    first, *private = network.subnets(prefixlen_diff=QUARTERS.bit_length() - 1)
    public = list(first.subnets(new_prefix=PUBLIC_PREFIX))
    return {zone: ZoneSubnets(public[place], private[place]) for zone, place in _places(zones).items()}


def _places(zones: Sequence[str]) -> Mapping[str, int]:
    """A place for each zone: that of its letter, or the next free one where an earlier letter has it."""
    places: dict[str, int] = {}
    for zone in sorted(zones):
        wanted = ord(zone[-1]) - ord("a")
        places[zone] = next(
            place
            for place in ((wanted + step) % MOST_ZONES for step in range(MOST_ZONES))
            if place not in places.values()
        )
    return places
