"""A port of its own for metrics: who may scrape a replica cannot ask it."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.waiting import HANG_SECONDS, until
from tests.workloads.serving.serving import NAME, Running, running


@pytest.fixture(scope="module")
def server(tiny_int8: dict[str, Any]) -> Iterator[Running]:
    with running(tiny_int8, "--metrics-port", "0") as one:
        yield one


@pytest.fixture(scope="module")
def metrics(server: Running) -> Iterator[httpx.Client]:
    found = until(lambda: re.search(r"metrics alone on (http://[\d.:]+)/metrics", server.log()))
    with httpx.Client(base_url=found[1], timeout=HANG_SECONDS) as client:
        yield client


def test_the_port_for_metrics_answers_nothing_but_metrics(metrics: httpx.Client) -> None:
    assert "skerry_ready 1.0" in metrics.get("/metrics").text
    for path in ("/v1/models", "/v2/health/live", f"/v2/models/{NAME}", "/metrics/", "/"):
        assert metrics.get(path).status_code == 404, path
    asked = metrics.post("/v1/completions", json={"model": NAME, "prompt": "x", "max_tokens": 1})
    assert asked.status_code == 404 and "answers GET /metrics only" in asked.json()["error"]
    assert metrics.post("/metrics").status_code == 405


def test_the_port_of_requests_answers_as_it_does_without_another(
    server: Running, metrics: httpx.Client
) -> None:
    assert server.client.get("/v1/models").status_code == server.client.get("/metrics").status_code == 200
    assert server.complete().status_code == 200
    assert f'model="{NAME}"' in metrics.get("/metrics").text


def test_a_port_for_metrics_that_is_taken_is_refused_and_named(tiny_int8: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = ("--metrics-port", str(taken.getsockname()[1]))
        refused = Running(tiny_int8["uri"], tiny_int8["digest"], flags, {})
        try:
            assert refused.exit_code() == 4
            assert f"--metrics-port {flags[1]} on --host 127.0.0.1: cannot listen" in refused.log()
        finally:
            refused.kill()
