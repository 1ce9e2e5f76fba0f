"""Subnets follow from a range and zones, for any of both."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from components.aws.subnets import LONGEST_PREFIX, MOST_ZONES, SHORTEST_PREFIX, plan

LEAST_FREE = 8
"""What a load balancer wants in each of its subnets."""
RESERVED = 5
"""What AWS keeps of each subnet."""

prefixes = some.integers(SHORTEST_PREFIX, LONGEST_PREFIX)
ranges = some.builds(
    lambda prefix, place: str(IPv4Network(((10 << 24) + (place << (32 - prefix)), prefix))),
    prefixes,
    some.integers(0, 2**8 - 1),
)
letters = some.lists(some.sampled_from("abcdefg"), min_size=1, max_size=MOST_ZONES, unique=True)
zone_lists = some.builds(lambda found: [f"us-east-1{letter}" for letter in found], letters)


def all_subnets(cidr: str, zones: list[str]) -> list[IPv4Network]:
    return [subnet for found in plan(cidr, zones).values() for subnet in (found.public, found.private)]


@given(ranges, zone_lists)
def test_every_zone_gets_its_subnets_and_no_other_zone(cidr: str, zones: list[str]) -> None:
    assert set(plan(cidr, zones)) == set(zones)


@given(ranges, zone_lists)
def test_every_subnet_lies_in_the_range(cidr: str, zones: list[str]) -> None:
    assert all(subnet.subnet_of(IPv4Network(cidr)) for subnet in all_subnets(cidr, zones))


@given(ranges, zone_lists)
def test_no_two_subnets_share_an_address(cidr: str, zones: list[str]) -> None:
    assert not [pair for pair in combinations(all_subnets(cidr, zones), 2) if pair[0].overlaps(pair[1])]


@given(ranges, zone_lists)
def test_every_subnet_holds_what_a_load_balancer_wants(cidr: str, zones: list[str]) -> None:
    assert all(subnet.num_addresses - RESERVED >= LEAST_FREE for subnet in all_subnets(cidr, zones))


@given(ranges, zone_lists)
def test_a_private_subnet_is_a_quarter_of_the_range(cidr: str, zones: list[str]) -> None:
    whole = IPv4Network(cidr).num_addresses
    assert all(found.private.num_addresses * 4 == whole for found in plan(cidr, zones).values())


@given(ranges, zone_lists.flatmap(lambda zones: some.tuples(some.just(zones), some.permutations(zones))))
def test_the_order_of_zones_moves_no_subnet(cidr: str, orders: tuple[list[str], list[str]]) -> None:
    first, second = (plan(cidr, zones) for zones in orders)
    assert first == second


@given(ranges, zone_lists, zone_lists)
def test_the_first_three_zones_stay_where_they_are_whichever_others_come(
    cidr: str, zones: list[str], others: list[str]
) -> None:
    first, second = plan(cidr, zones), plan(cidr, others)
    for zone in {"us-east-1a", "us-east-1b", "us-east-1c"} & set(zones) & set(others):
        assert first[zone] == second[zone]


def test_a_third_zone_is_added_beside_the_others() -> None:
    two = plan("10.0.0.0/16", ["us-east-1a", "us-east-1b"])
    three = plan("10.0.0.0/16", ["us-east-1a", "us-east-1b", "us-east-1c"])
    assert two.items() <= three.items()


def test_the_subnets_of_a_range_are_these() -> None:
    found = plan("10.16.0.0/16", ["us-east-1b", "us-east-1a"])
    assert {zone: (str(made.public), str(made.private)) for zone, made in found.items()} == {
        "us-east-1a": ("10.16.0.0/26", "10.16.64.0/18"),
        "us-east-1b": ("10.16.0.64/26", "10.16.128.0/18"),
    }


@pytest.mark.parametrize("cidr", ["10.0.0.0/15", "10.0.0.0/21"])
def test_a_range_of_another_size_is_refused_with_those_that_are_taken(cidr: str) -> None:
    with pytest.raises(ValueError, match=rf"cidr: {cidr} has a prefix of /.*Choose one of /16 to /20"):
        plan(cidr, ["us-east-1a"])


@pytest.mark.parametrize(
    "zones", [[], ["us-east-1a", "us-east-1a"], [f"us-east-1{letter}" for letter in "abcd"]], ids=str
)
def test_zones_that_have_no_place_are_refused_with_the_rule(zones: list[str]) -> None:
    with pytest.raises(ValueError, match="zones: .*Name 1 to 3 different zones"):
        plan("10.0.0.0/16", zones)
