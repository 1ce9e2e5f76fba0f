"""Rules over address ranges. Pure; a target says which of its settings are ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from itertools import combinations
from typing import Annotated

from pydantic import StringConstraints

from components.settings.mistakes import Mistake

CIDR_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"
CIDR_RULE = "a range is written as address/prefix, such as 10.16.0.0/16"
Cidr = Annotated[str, StringConstraints(pattern=CIDR_PATTERN)]

PRIVATE = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""RFC 1918, and RFC 6598 for pods and services."""
WITHOUT_MACHINES = tuple(
    IPv4Network(block)
    for block in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
"""Ranges in which no other machine has an address: this network and loopback (RFC 1122), link-local (RFC 3927),
multicast (RFC 5771) and reserved (RFC 1112)."""


def machines_in(
    place: str, text: str, everything: tuple[str, str]
) -> tuple[IPv4Network | None, tuple[Mistake, ...]]:
    """Range in which other machines can be, such as that of a joined network.

    Args:
        place: key path of the range.
        text: range as it was written.
        everything: rule and remedy for the range that holds all addresses.

    Returns:
        The range, or None with what is wrong with it.
    """
    try:
        found = IPv4Network(text)
    except ValueError as error:
        remedy = "Write the range's first address, such as 10.64.0.0/24"
        return None, (Mistake(place, text, f"is no range ({error})", remedy),)
    if found.prefixlen == 0:
        return None, (Mistake(place, text, *everything),)
    empty = [str(block) for block in WITHOUT_MACHINES if found.overlaps(block)]
    if empty:
        rule = f"no other machine has an address in {', '.join(empty)}"
        return None, (Mistake(place, text, rule, "Write a range without these addresses"),)
    return found, ()


def ranges_are_sound(ranges: Mapping[str, str], sizes: Mapping[str, tuple[int, int]]) -> Iterable[Mistake]:
    """Each range is one, private, of a size that its use allows, and overlaps with no other.

    Args:
        ranges: key path -> range as it was written.
        sizes: key path -> shortest and longest prefix, in bits.
    """
    networks: dict[str, IPv4Network] = {}
    for path, text in ranges.items():
        try:
            networks[path] = IPv4Network(text)
        except ValueError as error:
            yield Mistake(
                path, text, f"is no range ({error})", "Write the range's first address, such as 10.16.0.0/16"
            )
    for path, network in networks.items():
        shortest, longest = sizes[path]
        if not shortest <= network.prefixlen <= longest:
            too = "small" if network.prefixlen > longest else "large"
            yield Mistake(
                path,
                str(network),
                f"{network.num_addresses} addresses are too {too}: the prefix is /{shortest} to /{longest}",
                f"Choose a prefix of /{shortest} to /{longest}",
            )
        if not any(network.subnet_of(block) for block in PRIVATE):
            blocks = ", ".join(map(str, PRIVATE))
            yield Mistake(path, str(network), "is not a private range", f"Choose one within {blocks}")
    for (first, one), (second, other) in combinations(networks.items(), 2):
        if one.overlaps(other):
            yield Mistake(
                second, str(other), f"overlaps with {first} ({one})", "Choose ranges that share no address"
            )
