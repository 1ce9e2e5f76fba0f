"""How operators reach a region's API server: routes to joined networks, and ranges of a public endpoint. Rules and
data only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Annotated, Protocol

from pydantic import Field, StringConstraints

from components.settings.base import Frozen
from components.settings.mistakes import Mistake
from components.settings.networks import PRIVATE, Cidr, machines_in

TARGETS: Mapping[str, str] = {
    "pcx": "vpc_peering_connection_id",
    "tgw": "transit_gateway_id",
    "vgw": "gateway_id",
}
"""Prefix of a target's id -> argument of a route that takes it (pulumi_aws 7.51.1, ec2.Route, read 2026-12-01)."""
TARGET_PATTERN = rf"^({'|'.join(TARGETS)})-[0-9a-f]{{8}}([0-9a-f]{{9}})?$"
TARGET_RULE = (
    "a route leads to a peering connection pcx-ID, a transit gateway tgw-ID or a VPN's gateway vgw-ID"
)
EVERYBODY = (
    "this is everybody, and the endpoint is for operators",
    "Write the ranges that `up` and administrators send from",
)
DEFAULT_ROUTE = (
    "the route to everywhere leads to the NAT gateway of the zone",
    "Write the range of the network that is joined",
)
"""Rule and remedy for a range that holds all addresses: of callers, and of a route."""


class ExtraRoute(Frozen):
    """A route of the private subnets to another network."""

    destination: Cidr = Field(description="Range of the other network.")
    target: Annotated[str, StringConstraints(pattern=TARGET_PATTERN)] = Field(
        description="Id of what leads there: a peering connection, a transit gateway that the VPC is attached to, or a "
        "VPN's gateway."
    )


class Reached(Protocol):
    """A region's network, as far as these rules look at it."""

    @property
    def cidr(self) -> str:
        """Range of the VPC."""
        ...

    @property
    def operators(self) -> tuple[str, ...]:
        """Ranges that reach the API server inside the VPC."""
        ...

    @property
    def extra_routes(self) -> tuple[ExtraRoute, ...]:
        """Routes to other networks."""
        ...

    @property
    def public_access(self) -> tuple[str, ...]:
        """Ranges that reach the API server from outside."""
        ...


def reach_is_sound(path: str, network: Reached) -> Iterable[Mistake]:
    """Routes lead out of the VPC, each to one place; operators and the callers of a public endpoint send from ranges
    that are named."""
    own = _vpc(network.cidr)
    for index, cidr in enumerate(network.operators):
        yield from machines_in(f"{path}.operators[{index}]", cidr, EVERYBODY)[1]
    for index, route in enumerate(network.extra_routes):
        place = f"{path}.extra_routes[{index}].destination"
        found, mistakes = machines_in(place, route.destination, DEFAULT_ROUTE)
        yield from mistakes
        if found is not None and own is not None and found.overlaps(own):
            yield Mistake(
                place,
                route.destination,
                f"overlaps with {path}.cidr ({own})",
                "Join networks that share no address",
            )
    for index, cidr in enumerate(network.public_access):
        place = f"{path}.public_access[{index}]"
        found, mistakes = machines_in(place, cidr, EVERYBODY)
        yield from mistakes
        if found is not None and any(found.overlaps(block) for block in PRIVATE):
            yield Mistake(
                place,
                cidr,
                "a public endpoint sees public addresses only",
                "Write the public range of your runners, or name a joined network in `operators`",
            )


def _vpc(text: str) -> IPv4Network | None:
    """None for text that is not a range: another rule reports it."""
    try:
        return IPv4Network(text)
    except ValueError:
        return None
