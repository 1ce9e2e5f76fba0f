"""Clients that are slow, idle, many, or gone: they cost the others nothing."""

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.workloads.serving.serving import NAME, PATIENCE_SECONDS, Running, running, until

Serve = Callable[..., Running]
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
LONG = 60_000


@pytest.fixture(scope="module")
def impatient(tiny_int8: dict[str, Any]) -> Iterator[Running]:
    flags = ("--client-seconds", "1", "--answer-seconds", "2", "--answer-tokens", "60000", "--slots", "1")
    with running(tiny_int8, *flags) as server:
        yield server


def connect(server: Running) -> socket.socket:
    address = (server.client.base_url.host, server.client.base_url.port)
    return socket.create_connection(address, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD])
def test_a_head_that_does_not_arrive_in_time_closes_its_connection(impatient: Running, sent: bytes) -> None:
    with connect(impatient) as slow:
        slow.sendall(sent)
        assert slow.recv(100) == b""


def test_a_body_that_does_not_arrive_in_time_is_a_408_and_closes(impatient: Running) -> None:
    with connect(impatient) as slow:
        slow.sendall(HEAD + b"content-length: 100\r\n\r\n{")
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ") and b"1 seconds" in answer


def test_an_answer_beyond_its_time_is_a_504_and_frees_its_slot(impatient: Running) -> None:
    late = impatient.complete(max_tokens=LONG)
    assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
    until(lambda: impatient.metric("skerry_requests_running") == 0)
    assert impatient.complete().status_code == 200


def test_more_tokens_than_one_answer_may_have_are_a_400_with_the_limit(impatient: Running) -> None:
    error = impatient.complete(max_tokens=60_001).json()["error"]
    assert error["param"] == "max_tokens" and "60000" in error["message"]


def test_a_thousand_idle_connections_leave_others_their_answers(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = serve(tiny_int8, "--client-seconds", "600").wait_ready()
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connect(server)).sendall(b"GET /v2")
        assert server.complete().status_code == 200
        with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE_SECONDS) as newcomer:
            assert newcomer.get(f"/v1/models/{NAME}").status_code == 200
