"""How long answers may take and connections are kept: a real Envoy as it is shipped, with short settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.envoy import config as envoy
from components.envoy.clusters import KEPT_SECONDS
from components.local.layout import LOOPBACK
from components.settings.items import EndpointSettings
from tests.unit.envoy.caller import Caller, ask_once
from tests.unit.envoy.proxies import Bench, Proxy, bench, healthy, until
from tests.unit.envoy.replica import PAUSE, PIECES, WAIT, Replica
from tests.unit.envoy.test_config import values_of

IDLE, LONGEST = 1, 6
SHORT = EndpointSettings(idle_timeout_seconds=IDLE, request_timeout_seconds=LONGEST)
PATIENT = EndpointSettings(idle_timeout_seconds=300, request_timeout_seconds=IDLE)
CALLERS = 20
LOST_AFTER_SECONDS = 4
"""A connection that is closed without notice is gone by then: its longest duration and its drain are a second each."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def both(live: Bench, settings: EndpointSettings) -> tuple[Replica, dict[str, Proxy]]:
    """A replica, a region in front of it, and a global load balancer in front of that."""
    replica = live.replica("one")
    region = live.region("east", {"coder": [replica.port]}, settings)
    until(lambda: healthy(region.port), region)
    return replica, {
        "region": region,
        "global": live.balancer({"east": region.port}, {"east": 1.0}, settings),
    }


def test_an_answer_that_is_not_streamed_may_take_longer_than_a_pause(live: Bench) -> None:
    _, proxies = both(live, SHORT)
    for proxy in proxies.values():
        answer = ask_once(proxy.port, {"model": "coder", WAIT: 3 * IDLE})
        assert (answer.status, answer.text) == (200, "one")


def test_a_streamed_answer_is_cut_where_it_pauses_for_too_long_and_only_there(live: Bench) -> None:
    _, proxies = both(live, SHORT)
    pieces = {"model": "coder", "stream": True, PIECES: 2}
    for proxy in proxies.values():
        assert not ask_once(proxy.port, {**pieces, PAUSE: 3 * IDLE}).whole
        assert ask_once(proxy.port, {**pieces, PIECES: 8, PAUSE: IDLE / 4}).text == 8 * "one"


def test_a_stream_that_does_not_begin_is_ended_after_the_longest_pause(live: Bench) -> None:
    _, proxies = both(live, SHORT)
    for proxy in proxies.values():
        answer = ask_once(proxy.port, {"model": "coder", "stream": True, WAIT: LONGEST})
        assert (answer.status, answer.error["code"]) == (504, "timeout")


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_that_takes_longer_than_the_longest_is_ended_in_the_apis_words(
    live: Bench, streams: bool
) -> None:
    replica, proxies = both(live, PATIENT)
    for proxy in proxies.values():
        answer = ask_once(proxy.port, {"model": "coder", "stream": streams, WAIT: 5 * IDLE})
        assert (answer.status, answer.error["code"]) == (504, "timeout")
    assert len(replica.asked) == len(proxies), "one of them was asked for again"


def test_what_stands_in_front_forgets_silent_connections_so_the_region_gives_up_before() -> None:
    def limits(silence: int | None) -> set[tuple[str, str]]:
        listeners = envoy.region_listeners(
            (LOOPBACK, 1),
            {"coder": "coder"},
            EndpointSettings(request_timeout_seconds=600),
            hops=1,
            silence_seconds=silence,
        )
        routes = [route for route in values_of(listeners, "route") if route.get("cluster") == "coder"]
        return {(route["timeout"], route["idle_timeout"]) for route in routes}

    assert limits(None) == {("600s", "60s"), ("600s", "600s")}
    assert limits(340) == {("600s", "60s"), ("600s", "600s"), ("330s", "330s")}, (
        "the second is a model's own page"
    )


def test_a_kept_connection_is_closed_with_an_answer_and_never_between_two(live: Bench) -> None:
    replica = live.replica("one")
    settings = EndpointSettings(drain_seconds=1)
    names = {"coder": "coder"}
    proxy = live.proxy(
        "east",
        lambda port: envoy.region_listeners((LOOPBACK, port), names, settings, hops=1, connection_seconds=1),
        envoy.region_clusters({"coder": [(LOOPBACK, replica.port)]}, settings),
    )
    until(lambda: healthy(proxy.port), proxy)
    callers = [Caller(proxy.port) for _ in range(CALLERS)]
    assert {caller.ask({"model": "coder"}).status for caller in callers} == {200}
    ends = time.monotonic() + LOST_AFTER_SECONDS
    while time.monotonic() < ends:
        assert not any(caller.is_closed for caller in callers), "a second request would have been lost"
        time.sleep(0.05)
    told = [caller.ask({"model": "coder"}) for caller in callers]
    assert {(answer.status, answer.headers.get("connection")) for answer in told} == {(200, "close")}


def test_a_proxy_closes_idle_connections_to_replicas_before_they_do(live: Bench) -> None:
    replica, proxies = both(live, EndpointSettings())
    assert ask_once(proxies["region"].port, {"model": "coder"}).status == 200
    closed = replica.closed
    until(lambda: replica.closed > closed, proxies["region"])
    assert KEPT_SECONDS < 5, "uvicorn closes them after five seconds, and a request on the way is lost"


def test_a_connection_is_kept_for_longer_than_any_load_balancer_in_front_keeps_it() -> None:
    for seconds in (30, 300, 3600):
        listeners = envoy.region_listeners(
            (LOOPBACK, 1), {}, EndpointSettings(request_timeout_seconds=seconds), hops=1
        )
        options = list(values_of(listeners, "common_http_protocol_options"))
        kept = {int(found["idle_timeout"].removesuffix("s")) for found in options}
        assert min(kept) > max(600, seconds)
