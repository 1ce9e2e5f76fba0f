"""Lines on stderr: one form, what they tell, and what they never tell."""

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.waiting import HANG_SECONDS
from tests.workloads.serving.serving import NAME, ROOT, Running

Serve = Callable[..., Running]
MARKER = "xyzzy-plugh"


def lines(server: Running) -> list[dict[str, Any]]:
    if server.process.poll() is None:
        server.client.get("/v2/health/live")  # the lines of answers before this one are written
    return [json.loads(line) for line in server.log().splitlines()]


def test_every_line_is_an_object_from_the_first_to_the_last(serve: Serve, tiny_int8: dict[str, Any]) -> None:
    server = serve(tiny_int8).wait_ready()
    server.complete()
    assert lines(server)
    server.process.terminate()
    assert server.exit_code() == 0
    told = lines(server)
    assert [line["event"] for line in told] == [
        "listening", "verified", "torch_imported", "ready", "request", "draining", "stopped",
    ]  # fmt: skip
    assert all(set(line) >= {"time", "level", "event", "message"} for line in told)
    assert told[3]["model"] == NAME and told[3]["version"] == tiny_int8["digest"][7:19]


def test_a_request_is_one_line_with_its_id_status_tokens_and_times(shared: Running) -> None:
    answer = shared.complete("def f(", max_tokens=9)
    (line,) = [one for one in lines(shared) if one.get("request_id") == answer.headers["x-request-id"]]
    assert 0 < line.pop("first_token_seconds") <= line.pop("seconds")
    del line["time"], line["message"], line["version"], line["request_id"]
    assert line == {
        "level": "info",
        "event": "request",
        "trace_id": "",
        "route": "/v1/completions",
        "status": 200,
        "error": "",
        "model": NAME,
        "operation": "text_completion",
        "finish_reason": "length",
        "prompt_tokens": 6,
        "output_tokens": 9,
    }


def test_health_and_metrics_are_asked_often_and_are_no_news(shared: Running) -> None:
    before = len(lines(shared))
    for route in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}/ready", "/metrics"):
        assert shared.client.get(route).status_code == 200
    assert len(lines(shared)) == before


def test_nothing_that_a_client_wrote_is_in_the_log_wherever_it_was_written(shared: Running) -> None:
    names: list[str] = ["authorization", "user-agent", "x-request-id", "traceparent", MARKER]
    headers = dict.fromkeys(names, MARKER)
    ok = {"model": NAME, "prompt": "x", "max_tokens": 2}
    bodies = [
        {**ok, "prompt": MARKER},
        {**ok, MARKER: MARKER, "user": MARKER, "stop": MARKER, "metadata": {MARKER: MARKER}},
        {**ok, "model": MARKER},
        {**ok, "temperature": MARKER},
        {**ok, "logit_bias": {MARKER: 1}},
        {**ok, "stream_options": {MARKER: MARKER}, "stream": MARKER},
        {"model": NAME, "messages": [{"role": MARKER, "content": MARKER}]},
        {"model": NAME, "input": [MARKER], "encoding_format": MARKER},
    ]
    answer = shared.complete(MARKER, max_tokens=30).json()["choices"][0]["text"]
    before = len(lines(shared))
    for route in ("/v1/completions", "/v1/chat/completions", "/v1/embeddings", f"/v2/models/{MARKER}/infer"):
        for body in bodies:
            shared.client.post(route, json=body, headers=headers)
        shared.client.post(route, content=b'{"prompt": "' + MARKER.encode(), headers=headers)
    shared.client.get(f"/v1/{MARKER}?{MARKER}={MARKER}")
    shared.client.request(MARKER.upper(), "/v1/completions")
    told = lines(shared)[before:]
    assert len(told) == 4 * (len(bodies) + 1) + 2
    assert MARKER not in shared.log().lower() and answer not in shared.log()


def test_a_request_that_is_no_http_leaves_a_line_of_the_library_without_its_bytes(shared: Running) -> None:
    url = shared.client.base_url
    with socket.create_connection((url.host, url.port or 0)) as raw:
        raw.sendall(MARKER.encode() + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert lines(shared)[-1]["event"] == "uvicorn.error" and MARKER not in shared.log()


def test_on_a_terminal_lines_are_words(tiny_int8: dict[str, Any]) -> None:
    ours, theirs = pty.openpty()
    flags = [
        "--model-uri",
        tiny_int8["uri"],
        "--model-name",
        NAME,
        "--digest",
        "sha256:" + "0" * 64,
        "--port",
        "0",
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "workloads.serving.server", *flags], cwd=ROOT, stderr=theirs
    )
    os.close(theirs)
    first = os.read(ours, 1000).decode()
    assert server.wait(HANG_SECONDS) == 3
    os.close(ours)
    assert first.startswith("server: listening on http://127.0.0.1:")
