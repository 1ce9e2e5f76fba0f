"""The generated configuration in front of real servers, behind the Envoy that the target starts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.envoy import config as envoy
from components.local.layout import LOOPBACK
from components.local.traffic import Dialled, shares
from tests.unit.envoy.proxies import (
    SETTINGS,
    Bench,
    Proxy,
    ask,
    bench,
    complete,
    error_of,
    healthy,
    kill,
    until,
)

MANY = 40


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A region of two services, each with one replica; no test may hurt it."""
    with bench(tmp_path_factory.mktemp("region")) as made:
        ports = {name: [made.backend(name).port] for name in ("coder", "assistant")}
        proxy = made.region("east", ports)
        until(lambda: healthy(proxy.port), proxy)
        yield proxy


@pytest.mark.parametrize("model", ["coder", "assistant"])
def test_a_request_goes_to_the_service_that_its_body_names(region: Proxy, model: str) -> None:
    assert {complete(region.port, model) for _ in range(5)} == {(200, model)}


@pytest.mark.parametrize("model", ["coder", "assistant"])
def test_a_models_own_page_is_answered_by_its_service(region: Proxy, model: str) -> None:
    assert ask(region.port, f"/v1/models/{model}")[2] == model


@pytest.mark.parametrize("model", ["poet", "(no model)x", "", 7])
def test_an_unknown_model_is_refused_with_a_list_of_those_that_exist(region: Proxy, model: object) -> None:
    answer = ask(region.port, "/v1/chat/completions", {"model": model})
    assert answer[0] == 404
    error = error_of(answer)
    assert error["type"] == "invalid_request_error" and error["param"] == "model"
    assert "coder" in error["message"] and "assistant" in error["message"]


def test_a_missing_model_is_refused_with_a_list_of_those_that_exist(region: Proxy) -> None:
    answer = ask(region.port, "/v1/completions", {"prompt": "hello"})
    assert answer[0] == 400
    message = error_of(answer)["message"]
    assert "`model` is missing" in message and "coder" in message and "assistant" in message


def test_a_body_that_is_not_json_is_refused_as_such(region: Proxy) -> None:
    answer = ask(region.port, "/v1/completions", b"{nope")
    assert answer[0] == 400
    assert "not valid JSON" in error_of(answer)["message"]


def test_the_listing_names_every_service(region: Proxy) -> None:
    status, kind, body = ask(region.port, "/v1/models")
    assert (status, kind) == (200, "application/json")
    assert {entry["id"] for entry in json.loads(body)["data"]} == {"coder", "assistant"}


def test_a_path_outside_the_protocol_is_refused_in_the_protocol(region: Proxy) -> None:
    answer = ask(region.port, "/admin")
    assert answer[0] == 404
    assert "No such path" in error_of(answer)["message"]


def test_only_the_owner_can_open_the_administration_socket(region: Proxy) -> None:
    assert (region.folder / "admin.sock").stat().st_mode & 0o777 == 0o600


def known_dead(proxy: Proxy, model: str) -> bool:
    """Whether the health checks of a region have found a service without a replica."""
    status, body = complete(proxy.port, model)
    return status == 503 and "not_ready" in body


def test_a_region_is_healthy_while_one_of_its_services_is_and_no_longer(live: Bench) -> None:
    coder, assistant = live.backend("coder"), live.backend("assistant")
    proxy = live.region("east", {"coder": [coder.port], "assistant": [assistant.port]})
    until(lambda: healthy(proxy.port), proxy)
    coder.die()
    until(lambda: known_dead(proxy, "coder"), proxy)
    assert healthy(proxy.port)
    assert complete(proxy.port, "assistant") == (200, "assistant")
    assistant.die()
    until(lambda: not healthy(proxy.port), proxy)


@pytest.mark.parametrize("share", [0.5, 0.999, 1.0])
def test_a_service_that_is_missing_in_a_region_is_answered_by_another_and_the_rest_by_both(
    live: Bench, share: float
) -> None:
    """Also if the other region is drawn once in a thousand times, or only stands by."""
    services = ("coder", "assistant")
    backends = {
        name: {service: live.backend(f"{service} of {name}") for service in services}
        for name in ("east", "west")
    }
    regions = {
        name: live.region(name, {service: [one.port] for service, one in made.items()})
        for name, made in backends.items()
    }
    for proxy in regions.values():
        until(lambda proxy=proxy: healthy(proxy.port), proxy)
    shared = {"east": share, "west": 1 - share}
    balancer = live.balancer({name: proxy.port for name, proxy in regions.items()}, shared)
    backends["east"]["coder"].die()
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "coder of west")}
    until(lambda: known_dead(regions["east"], "coder"), regions["east"])
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "coder of west")}
    # East is still in rotation for what it serves, and with an equal share so is west.
    expected = {"assistant of east", "assistant of west"} if share == 0.5 else {"assistant of east"}
    assert {complete(balancer.port, "assistant")[1] for _ in range(MANY)} >= expected


def test_the_first_requests_after_a_replica_died_are_answered_by_the_other(live: Bench) -> None:
    dies, lives = live.backend("dies"), live.backend("lives")
    proxy = live.region("east", {"coder": [dies.port, lives.port]})
    until(lambda: healthy(proxy.port), proxy)
    until(lambda: complete(proxy.port, "coder")[1] == "dies", proxy)
    dies.die()
    assert {complete(proxy.port, "coder") for _ in range(MANY)} == {(200, "lives")}


def test_an_answer_that_broke_off_is_not_asked_for_again(live: Bench) -> None:
    replicas = [live.backend(name, breaks_off=True) for name in ("first", "second")]
    proxy = live.region("east", {"coder": [replica.port for replica in replicas]})
    until(lambda: healthy(proxy.port), proxy)
    with pytest.raises(Exception, match="IncompleteRead"):
        complete(proxy.port, "coder")
    assert sum(len(replica.requests) for replica in replicas) == 1


def test_the_first_requests_after_a_region_died_are_answered_by_the_other(live: Bench) -> None:
    backends = {name: live.backend(name) for name in ("east", "west")}
    regions = {name: live.region(name, {"coder": [made.port]}) for name, made in backends.items()}
    for proxy in regions.values():
        until(lambda proxy=proxy: healthy(proxy.port), proxy)
    balancer = live.balancer(
        {name: proxy.port for name, proxy in regions.items()}, {"east": 0.5, "west": 0.5}
    )
    until(lambda: complete(balancer.port, "coder")[1] == "east", balancer)
    kill(regions["east"].process)
    backends["east"].die()
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "west")}


def test_shares_are_kept(live: Bench) -> None:
    ports = {name: live.backend(name).port for name in ("east", "west")}
    balancer = live.balancer(ports, {"east": 0.75, "west": 0.25})
    until(lambda: complete(balancer.port, "coder")[1] == "west", balancer)
    answers = Counter(complete(balancer.port, "coder")[1] for _ in range(100))
    assert 65 <= answers["east"] <= 85


def test_a_drained_region_gets_nothing_even_when_no_other_is_left(live: Bench) -> None:
    east, west = live.backend("east"), live.backend("west")
    share = shares({"east": Dialled(1.0, drained=False), "west": Dialled(1.0, drained=True)})
    ports = {"east": east.port, "west": west.port}
    balancer = live.balancer({name: ports[name] for name in share}, share)
    east.die()
    until(lambda: not healthy(balancer.port), balancer)
    answer = ask(balancer.port, "/v1/completions", {"model": "coder"})
    assert answer[0] == 503
    assert error_of(answer)["type"] == "server_error"
    assert west.requests == []


def test_rewriting_the_clusters_moves_requests_without_a_restart(live: Bench) -> None:
    ports = {name: live.backend(name).port for name in ("east", "west")}
    balancer = live.balancer(ports, {"east": 1.0, "west": 0.0})
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "east")}
    regions = {name: (LOOPBACK, port) for name, port in ports.items()}
    balancer.rewrite_clusters([envoy.regions_cluster(regions, {"east": 0.0, "west": 1.0}, SETTINGS)])
    statuses = Counter[int]()

    def moved() -> bool:
        status, name = complete(balancer.port, "coder")
        statuses[status] += 1
        return name == "west"

    until(moved, balancer)
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "west")}
    assert set(statuses) == {200}, "a request was lost on the way"
    assert balancer.process.poll() is None


def test_a_region_with_dial_0_gets_nothing_until_the_others_fail_and_then_everything_at_once(
    live: Bench,
) -> None:
    east, west = live.backend("east"), live.backend("west")
    balancer = live.balancer({"east": east.port, "west": west.port}, {"east": 1.0, "west": 0.0})
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "east")}
    assert west.requests == []
    east.die()
    assert {complete(balancer.port, "coder") for _ in range(MANY)} == {(200, "west")}
