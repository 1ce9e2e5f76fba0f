"""What ranges hold, and how many nodes a slice has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.gcp.ranges import HOLDS, PREFIXES, longest_prefix, nodes_with_addresses, nodes_with_pods
from components.gcp.slices import hosts_of

USES = st.sampled_from(sorted(HOLDS))


@pytest.mark.parametrize(("prefix", "nodes"), [(29, 4), (28, 12), (24, 252), (20, 4092)])
def test_a_primary_range_keeps_four_addresses_for_google(prefix: int, nodes: int) -> None:
    assert nodes_with_addresses(prefix) == nodes


@pytest.mark.parametrize(("prefix", "nodes"), [(24, 1), (21, 8), (16, 256), (14, 1024)])
def test_a_node_takes_a_block_of_pods(prefix: int, nodes: int) -> None:
    assert nodes_with_pods(prefix) == nodes


@given(USES, st.integers(1, 4000))
def test_the_longest_prefix_is_the_smallest_range_that_holds_the_nodes(use: str, nodes: int) -> None:
    shortest, longest = PREFIXES[use]
    prefix = longest_prefix(use, nodes)
    assert shortest <= prefix <= longest
    assert HOLDS[use](prefix) >= nodes
    assert prefix == longest or HOLDS[use](prefix + 1) < nodes


@pytest.mark.parametrize(
    ("topology", "chips", "hosts"),
    [("1x1", 4, 1), ("2x2", 4, 1), ("2x4", 4, 2), ("16x16", 4, 64), ("2x2x2", 4, 2)],
)
def test_a_slice_has_as_many_nodes_as_its_chips_need(topology: str, chips: int, hosts: int) -> None:
    assert hosts_of(topology, chips) == hosts


@given(st.lists(st.integers(1, 16), min_size=2, max_size=3), st.integers(1, 8))
def test_the_nodes_of_a_slice_hold_its_chips_and_none_is_spare(sides: list[int], chips: int) -> None:
    total = 1
    for side in sides:
        total *= side
    hosts = hosts_of("x".join(map(str, sides)), chips)
    assert (hosts - 1) * chips < total <= hosts * chips
