"""Ports and places of target local."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from components.local.layout import (
    PORTS_PER_REGION,
    envoy_file,
    region_port,
    region_supervisor,
    service_port,
    tier_uri,
)
from components.local.settings import LAST_PORT, MOST_REPLICAS, MOST_SERVICES
from components.settings.base import NAME_PATTERN

NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
MOST_REGIONS = (LAST_PORT - 1024 + 1) // PORTS_PER_REGION - 1


def ports_of(port: int, regions: int, services: int, replicas: int) -> list[int]:
    """Every port of a stack: the balancer's, each region's, each replica's."""
    taken = [port, *(region_port(port, region) for region in range(regions))]
    for region in range(regions):
        for service in range(services):
            first = service_port(port, region, service)
            taken += range(first, first + replicas + 1)  # one for a successor
    return taken


@given(
    port=st.integers(1024, 40000),
    regions=st.integers(1, 12),
    services=st.integers(0, MOST_SERVICES),
    replicas=st.integers(0, MOST_REPLICAS),
)
def test_no_two_listeners_of_a_legal_stack_share_a_port(
    port: int, regions: int, services: int, replicas: int
) -> None:
    assert Counter(ports_of(port, regions, services, replicas)).most_common(1)[0][1] == 1


def test_a_maximal_stack_has_a_port_for_everything() -> None:
    taken = ports_of(1024, MOST_REGIONS, MOST_SERVICES, MOST_REPLICAS)
    assert len(set(taken)) == len(taken)
    assert max(taken) <= LAST_PORT


def test_one_replica_more_than_is_legal_would_collide() -> None:
    taken = ports_of(8080, 2, MOST_SERVICES, MOST_REPLICAS + 1)
    assert len(set(taken)) < len(taken)


@given(st.lists(NAMES, unique=True, min_size=2, max_size=5))
def test_no_two_regions_share_a_supervisor_or_a_tier(names: list[str]) -> None:
    assert len({region_supervisor(name) for name in names}) == len(names)
    assert len({tier_uri(Path("/project"), name, "hot") for name in names}) == len(names)


@given(NAMES)
def test_no_region_takes_the_global_supervisor(name: str) -> None:
    assert region_supervisor(name) != "global"


def test_a_tier_of_a_folder_with_a_space_is_a_uri() -> None:
    assert tier_uri(Path("/my project"), "east", "hot") == "file:///my%20project/.skerry/tiers/east/hot"


@given(NAMES)
def test_proxies_keep_their_files_below_the_project(name: str) -> None:
    path = PurePosixPath(envoy_file(region_supervisor(name), "clusters.json"))
    assert path.parts[:2] == (".skerry", "etc") and ".." not in path.parts
