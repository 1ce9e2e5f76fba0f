"""Errors that Envoy answers itself are the API's: JSON, with a code that is never null, at both kinds of listener."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from components.envoy.errors import FAULTS
from components.envoy.limits import BODY_BYTES, LARGE_BODIES, SMALL_BODY_BYTES
from tests.unit.envoy.caller import Answer, ask_once, raw, unfinished
from tests.unit.envoy.proxies import Bench, Proxy, bench, healthy, until

HUGE = b"x" * (BODY_BYTES + 1)
POSTED = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    """A region and a global load balancer in front of it; no test may hurt them."""
    with bench(tmp_path_factory.mktemp("errors")) as made:
        region = made.region("east", {"coder": [made.replica("coder").port]})
        until(lambda: healthy(region.port), region)
        yield {"region": region, "global": made.balancer({"east": region.port}, {"east": 1.0})}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture(params=["region", "global"])
def port(request: pytest.FixtureRequest, proxies: dict[str, Proxy]) -> int:
    return proxies[request.param].port


def told(answer: Answer) -> tuple[int, str, str | None, str]:
    """Status and error of an answer: type, param, code."""
    error = answer.error
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return answer.status, error["type"], error["param"], error["code"]


REQUEST = "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/models/nope", "/v1/models/coder2"])
def test_the_page_of_a_model_that_is_not_there_says_so(port: int, path: str) -> None:
    assert told(ask_once(port, path=path)) == (404, REQUEST, "model", "model_not_found")


def test_a_request_for_a_model_that_is_not_there_says_so(port: int) -> None:
    assert told(ask_once(port, {"model": "nope"})) == (404, REQUEST, "model", "model_not_found")


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_method_that_a_path_does_not_have_is_405_with_those_that_it_has(
    port: int, path: str, method: str
) -> None:
    answer = ask_once(port, path=path, method=method)
    assert told(answer) == (405, REQUEST, None, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/coder"])
def test_the_models_are_read_only(port: int, path: str) -> None:
    answer = ask_once(port, {"model": "coder"}, path)
    assert told(answer) == (405, REQUEST, None, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/admin", "/v1/nope"])
def test_a_path_that_is_not_there_is_404(port: int, path: str) -> None:
    assert told(ask_once(port, path=path)) == (404, REQUEST, None, "not_found")


def test_a_body_that_is_not_json_or_names_no_model_is_400(port: int) -> None:
    assert told(ask_once(port, b"{nope")) == (400, REQUEST, None, "invalid_json")
    assert told(ask_once(port, {"prompt": "x"})) == (400, REQUEST, "model", "invalid_value")
    assert told(ask_once(port, b"")) == (400, REQUEST, "model", "invalid_value")


def test_a_body_that_is_too_large_is_413_whether_it_says_so_or_not(port: int) -> None:
    """It is answered before all of it is sent, so the bytes are those of a client that reads while it sends."""
    declared = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(HUGE)}\r\n\r\n".encode()
    chunked = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        + f"{len(HUGE) - 1:x}\r\n".encode()
        + HUGE[1:]
        + b"\r\n1\r\nx\r\n0\r\n\r\n"
    )
    for request in (declared, chunked):
        head, _, body = raw(port, request).partition(b"\r\n\r\n")
        assert b" 413 " in head.splitlines()[0] and b"content-type: application/json" in head
        assert json.loads(body)["error"]["code"] == "request_too_large"


def test_the_largest_body_that_is_allowed_arrives(port: int) -> None:
    body = json.dumps({"model": "coder", "prompt": ""}).encode()
    largest = body.replace(b'""', b'"' + b"x" * (BODY_BYTES - len(body)) + b'"')
    assert (len(largest), ask_once(port, largest).text) == (BODY_BYTES, "coder")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "invalid_request"),
        (b"GET /v1/models%2Fx HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 61_500 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
def test_what_is_not_http_is_refused_in_the_apis_words(
    port: int, request_: bytes, status: int, code: str
) -> None:
    head, _, body = raw(port, request_).partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0]
    assert json.loads(body)["error"]["code"] == code


def test_nobody_healthy_is_503_with_a_code(live: Bench) -> None:
    replica = live.replica("coder")
    region = live.region("east", {"coder": [replica.port]})
    until(lambda: healthy(region.port), region)
    balancer = live.balancer({"east": region.port}, {"east": 1.0})
    replica.die()
    for port in (region.port, balancer.port):
        assert told(ask_once(port, {"model": "coder"})) == (503, "server_error", None, "not_ready")


def test_more_large_bodies_than_a_proxy_holds_are_503_with_a_code(live: Bench) -> None:
    region = live.region("east", {"coder": [live.replica("coder").port]})
    until(lambda: healthy(region.port), region)
    large = {"model": "coder", "prompt": "x" * SMALL_BODY_BYTES}
    with ExitStack() as stack:
        unfinished(stack, region.port, LARGE_BODIES, SMALL_BODY_BYTES, BODY_BYTES)

        def refused() -> bool:
            return ask_once(region.port, large).status == 503

        until(refused, region)
        answer = ask_once(region.port, large)
        assert told(answer) == (503, "server_error", None, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert ask_once(region.port, {"model": "coder"}).status == 200, "a small one was refused too"
    until(lambda: not refused(), region)


def test_no_fault_has_a_code_that_is_null_and_the_last_takes_what_the_others_leave() -> None:
    assert all(fault.code and fault.message for fault in FAULTS)
    assert {fault.statuses for fault in FAULTS[-2:]} == {(500, 599), (400, 499)}
