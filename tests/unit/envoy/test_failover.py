"""Failover under concurrency: a real Envoy as it is shipped, and replicas that die, refuse or are full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.envoy.limits import BODY_BYTES, SMALL_BODY_BYTES
from components.envoy.routes import FULL_HEADER
from components.settings.items import EndpointSettings, HealthSettings
from tests.unit.envoy.caller import Answer, ask_at_once, ask_once
from tests.unit.envoy.proxies import Bench, Proxy, bench, healthy, until
from tests.unit.envoy.replica import HELD, Replica
from workloads.serving import protocol
from workloads.serving.limits import Limits
from workloads.serving.protocol import ApiError, not_ready, queue_full

MANY = 60
UNSEEN = EndpointSettings(health=HealthSettings(interval_seconds=300))
"""Health checks that notice no death: what is answered was sent to another member."""
HELD_ANSWER = {"model": "coder", HELD: True}
SHORT_ANSWER = {"model": "coder"}


def too_many() -> ApiError:
    return ApiError(429, "more requests than this key may send", code="rate_limit_exceeded")


def out_of_time() -> ApiError:
    return ApiError(504, "this answer took longer than it may", code="timeout")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def in_front(live: Bench, name: str, *replicas: Replica) -> Proxy:
    made = live.region(name, {"coder": [replica.port for replica in replicas]}, UNSEEN)
    until(lambda: healthy(made.port), made)
    return made


def killed_under_load(proxy: Proxy, dies: Replica, lives: Replica) -> Counter[tuple[int, str]]:
    """Answers to MANY requests that are all in flight, on both replicas, when one of them dies."""

    def kill() -> Answer:
        until(lambda: len(dies.asked) + len(lives.asked) == MANY, proxy)
        assert len(dies.asked) > 3, "more than Envoy tries again at a time by default"
        dies.die()
        lives.let_go()
        return Answer(200, {}, lives.name)

    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill)
        answers = ask_at_once(proxy.port, [HELD_ANSWER] * MANY)
        killer.result()
    return Counter((answer.status, answer.text) for answer in answers)


def test_requests_in_flight_on_a_replica_that_dies_are_all_answered_by_the_other(live: Bench) -> None:
    dies, lives = live.replica("dies"), live.replica("lives")
    proxy = in_front(live, "east", dies, lives)
    assert killed_under_load(proxy, dies, lives) == {(200, "lives"): MANY}


def test_requests_in_flight_in_a_region_that_dies_are_all_answered_by_the_other(live: Bench) -> None:
    dies, lives = live.replica("dies"), live.replica("lives")
    regions = {"east": in_front(live, "east", dies), "west": in_front(live, "west", lives)}
    share = dict.fromkeys(regions, 0.5)
    balancer = live.balancer({name: proxy.port for name, proxy in regions.items()}, share, UNSEEN)
    assert killed_under_load(balancer, dies, lives) == {(200, "lives"): MANY}


def test_as_many_requests_as_a_proxy_lets_in_run_at_the_same_time(live: Bench) -> None:
    """Envoy's default is 1024 of a cluster."""
    many = 1100
    replica = live.replica("one")
    proxy = in_front(live, "east", replica)

    def let_go() -> None:
        until(lambda: len(replica.asked) == many, proxy)
        replica.let_go()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(let_go)
        answers = ask_at_once(proxy.port, [HELD_ANSWER] * many)
        waiting.result()
    assert Counter(answer.status for answer in answers) == {200: many}


def test_a_replica_that_is_not_ready_is_passed_over(live: Bench) -> None:
    closing, ready = live.replica("closing", lambda: not_ready("shutting down")), live.replica("ready")
    proxy = in_front(live, "east", closing, ready)
    answers = ask_at_once(proxy.port, [SHORT_ANSWER] * MANY)
    assert Counter((answer.status, answer.text) for answer in answers) == {(200, "ready"): MANY}


def test_an_answer_that_took_too_long_is_not_asked_for_again(live: Bench) -> None:
    replicas = [live.replica(name, out_of_time) for name in ("first", "second")]
    proxy = in_front(live, "east", *replicas)
    assert ask_once(proxy.port, SHORT_ANSWER).status == 504
    assert sum(len(replica.asked) for replica in replicas) == 1


def test_a_full_region_is_passed_over_while_another_is_free(live: Bench) -> None:
    full, free = live.replica("full", queue_full), live.replica("free")
    regions = {"east": in_front(live, "east", full), "west": in_front(live, "west", free)}
    share = dict.fromkeys(regions, 0.5)
    balancer = live.balancer({name: proxy.port for name, proxy in regions.items()}, share, UNSEEN)
    answers = ask_at_once(balancer.port, [SHORT_ANSWER] * 16)
    assert Counter((answer.status, answer.text) for answer in answers) == {(200, "free"): 16}
    assert full.asked, "the full region was never tried"


def test_where_all_regions_are_full_the_caller_is_told_so_after_three_tries_at_most(live: Bench) -> None:
    full = [live.replica(name, queue_full) for name in ("one", "two")]
    regions = {replica.name: in_front(live, replica.name, replica) for replica in full}
    share = dict.fromkeys(regions, 0.5)
    balancer = live.balancer({name: proxy.port for name, proxy in regions.items()}, share, UNSEEN)
    answer = ask_once(balancer.port, SHORT_ANSWER)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert 2 <= sum(len(replica.asked) for replica in full) <= 3


def test_a_caller_who_asks_too_often_is_not_sent_to_another_region(live: Bench) -> None:
    strict = [live.replica(name, too_many) for name in ("one", "two")]
    regions = {replica.name: in_front(live, replica.name, replica) for replica in strict}
    share = dict.fromkeys(regions, 0.5)
    balancer = live.balancer({name: proxy.port for name, proxy in regions.items()}, share, UNSEEN)
    assert ask_once(balancer.port, SHORT_ANSWER).status == 429
    assert sum(len(replica.asked) for replica in strict) == 1


def test_proxy_and_serving_workload_agree_on_bodies_and_on_the_sign_of_a_full_replica() -> None:
    limits = Limits()
    assert (limits.body_bytes, limits.small_body_bytes) == (BODY_BYTES, SMALL_BODY_BYTES)
    assert protocol.FULL_HEADER == FULL_HEADER
