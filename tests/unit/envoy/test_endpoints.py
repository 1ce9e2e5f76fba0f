"""Members of a cluster that a watched file names, in front of real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.envoy import config as envoy
from components.envoy.endpoints import assignment
from components.local.layout import LOOPBACK
from components.local.provider.balancer import Balancer
from tests.unit.envoy.proxies import SETTINGS, Bench, Proxy, bench, complete, healthy, until, write

MANY = 20


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def region(live: Bench, standing: list[int], all_ports: list[int]) -> tuple[Proxy, Balancer]:
    """An Envoy in front of a service whose members a file names, and what changes that file."""
    write(live.folder / "endpoints.json", assignment("coder", LOOPBACK, standing))
    clusters = envoy.region_clusters(
        {"coder": [(LOOPBACK, port) for port in all_ports]}, SETTINGS, {"coder": "../endpoints.json"}
    )
    proxy = live.proxy(
        "east",
        lambda port: envoy.region_listeners((LOOPBACK, port), {"coder": "coder"}, SETTINGS, hops=1),
        clusters,
    )
    until(lambda: healthy(proxy.port), proxy)
    return proxy, Balancer(live.folder, "endpoints.json", "coder", "east/admin.sock")


def answered_by(proxy: Proxy) -> set[tuple[int, str]]:
    return {complete(proxy.port, "coder") for _ in range(MANY)}


def test_only_published_members_are_asked_from_the_moment_in_which_publishing_returns(live: Bench) -> None:
    old, new = live.backend("old"), live.backend("new")
    proxy, balancer = region(live, [old.port], [old.port, new.port])
    assert answered_by(proxy) == {(200, "old")}
    balancer.publish([old.port, new.port])
    assert answered_by(proxy) == {(200, "old"), (200, "new")}
    balancer.publish([new.port])
    assert answered_by(proxy) == {(200, "new")}
    assert balancer.is_published([new.port]) and not balancer.is_published([old.port])


def test_a_member_that_is_withdrawn_gets_no_request_although_it_still_answers_health_checks(
    live: Bench,
) -> None:
    old, new = live.backend("old"), live.backend("new")
    proxy, balancer = region(live, [old.port, new.port], [old.port, new.port])
    until(lambda: answered_by(proxy) == {(200, "old"), (200, "new")}, proxy)
    balancer.publish([new.port])
    assert answered_by(proxy) == {(200, "new")}


def test_publishing_needs_no_proxy(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, "etc/endpoints.json", "coder", "run/admin.sock")
    balancer.publish([9000])
    assert balancer.is_published([9000])
    balancer.forget()
    assert not balancer.is_published([9000])
