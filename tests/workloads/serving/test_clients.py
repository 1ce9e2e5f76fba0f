"""Clients that are slow, idle, many, or gone: they cost the others nothing."""

import asyncio
import contextlib
import json
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.workloads.serving.serving import HANG_SECONDS, NAME, Running, running, until
from workloads.serving.limits import Limits
from workloads.serving.server import bind

Serve = Callable[..., Running]
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
LONG = 60_000
ENDED = "gen_ai_server_request_duration_seconds_count"


@pytest.fixture(scope="module")
def impatient(tiny_int8: dict[str, Any]) -> Iterator[Running]:
    flags = ("--client-seconds", "1", "--answer-seconds", "2", "--answer-tokens", "60000", "--slots", "1")
    with running(tiny_int8, *flags) as server:
        yield server


def connect(server: Running) -> socket.socket:
    address = (server.client.base_url.host, server.client.base_url.port)
    return socket.create_connection(address, timeout=HANG_SECONDS)


def not_chunked(server: Running, **more: Any) -> bytes:
    """All that comes back for a completion that is asked for with HTTP/1.0."""
    body = json.dumps({"model": NAME, "prompt": "x", "max_tokens": 2, **more}).encode()
    with connect(server) as old:
        head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
        old.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        return b"".join(iter(lambda: old.recv(65536), b""))


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
    assert b'"code":"request_timeout"' in answer


@pytest.mark.parametrize("path", [b"/v2/health/live", b"/v1/nothing"])
def test_a_body_that_trickles_on_behind_its_answer_closes_in_time(impatient: Running, path: bytes) -> None:
    with connect(impatient) as slow:
        slow.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 ")
        slow.setblocking(False)

        def closed() -> bool:
            try:
                slow.sendall(b" ")
                return slow.recv(65536) == b""
            except BlockingIOError:
                return False  # open, with nothing to say
            except ConnectionError:
                return True

        until(closed)


def test_only_so_much_of_a_body_is_taken_behind_its_answer(shared: Running) -> None:
    with connect(shared) as eager:
        eager.sendall(b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        assert eager.recv(65536).startswith(b"HTTP/1.1 404 ")
        with pytest.raises(ConnectionError):
            eager.sendall(b" " * 100_000_000)


def test_a_declared_length_beyond_the_limit_is_a_413_before_a_byte_of_it_is_taken(shared: Running) -> None:
    with connect(shared) as large:
        large.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 9999999999\r\n\r\n")
        assert large.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_only_so_many_large_bodies_may_come_at_once_and_small_ones_pass_them(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--client-seconds", "600").wait_ready()
    limits = Limits()
    begin = HEAD + b"content-length: %d\r\n\r\n" % limits.body_bytes + b" " * (limits.small_body_bytes + 1)
    with contextlib.ExitStack() as stack:
        coming = [stack.enter_context(connect(server)) for _ in range(limits.large_bodies + 1)]
        for one in coming:
            one.sendall(begin)
        refused, _, _ = select.select(coming, [], [], HANG_SECONDS)
        answer = refused[0].recv(65536)
        assert len(refused) == 1 and answer.startswith(b"HTTP/1.1 429 ") and b"retry-after: 1" in answer
        assert server.complete().status_code == 200
    large = " " * limits.small_body_bytes
    until(lambda: server.complete(user=large).status_code == 200)  # those that left made room


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
        with httpx.Client(base_url=server.client.base_url, timeout=HANG_SECONDS) as newcomer:
            assert newcomer.get(f"/v1/models/{NAME}").status_code == 200


def test_a_client_that_stops_reading_its_answer_is_cut_off_and_frees_its_slot(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    name = "n" * 4000  # every chunk repeats it, so that the buffers between are soon full
    server = serve(tiny_int8, "--client-seconds", "1", "--model-name", name).wait_ready()
    body = json.dumps({"model": name, "prompt": "x", "max_tokens": LONG, "stream": True, "seed": 1}).encode()
    with connect(server) as stalled:
        stalled.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert stalled.recv(12) == b"HTTP/1.1 200"
        until(lambda: server.metric(ENDED, error_type="client_left") == 1)
        until(lambda: server.metric("skerry_requests_running") == 0)


def test_a_body_that_still_arrives_does_not_hold_the_drain(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8, "--drain-seconds", "600", "--client-seconds", "600").wait_ready()
    with connect(server) as slow:
        slow.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 100\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ") and b"another replica" in answer
    assert server.exit_code() == 0


def test_a_drain_is_not_held_by_requests_that_are_wrong(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8, "--drain-seconds", "600").wait_ready()
    assert server.client.post("/v1/nothing").status_code == 404
    server.process.send_signal(signal.SIGTERM)

    def ended() -> bool:
        with contextlib.suppress(httpx.TransportError):
            assert server.client.post("/v1/nothing").status_code == 404
        return server.process.poll() is not None

    until(ended)
    assert server.exit_code() == 0


def test_no_part_of_an_answer_waits_until_its_client_acknowledges_the_one_before() -> None:
    async def without_delay() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.set_result(option)
            writer.close()

        listener = bind("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listener):
            with socket.create_connection(listener.getsockname()):
                return await accepted

    assert asyncio.run(without_delay()) == 1


def test_the_first_chunk_is_there_long_before_the_last_token(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8).wait_ready()
    with server.stream(LONG) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        assert 0 < server.metric("skerry_generated_tokens_total") < LONG


def test_a_stream_over_http_1_0_is_refused_as_its_end_would_say_nothing(shared: Running) -> None:
    assert not_chunked(shared, stream=False).startswith(b"HTTP/1.1 200 ")
    refused = not_chunked(shared, stream=True)
    assert refused.startswith(b"HTTP/1.1 400 ") and b"ask with HTTP/1.1" in refused


def test_eight_equal_clients_need_less_than_twice_the_decode_steps_of_one(
    serve: Serve, tiny_int8: dict[str, Any]
) -> None:
    server = serve(tiny_int8, "--slots", "8").wait_ready()
    assert server.complete(max_tokens=250).status_code == 200
    one = server.metric("skerry_decode_steps_total")
    body = json.dumps({"model": NAME, "prompt": "def f(", "temperature": 0, "max_tokens": 250}).encode()
    server.process.send_signal(signal.SIGSTOP)  # until all have asked
    with contextlib.ExitStack() as stack:
        eight = [stack.enter_context(connect(server)) for _ in range(8)]
        for client in eight:
            client.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        server.process.send_signal(signal.SIGCONT)
        answers = [b"".join(iter(lambda client=client: client.recv(65536), b"")) for client in eight]
    assert all(b'"completion_tokens":250' in answer for answer in answers)
    assert 0 < one <= server.metric("skerry_decode_steps_total") - one < 2 * one
