"""What a proxy holds is bounded whoever connects, and it says what it did: a real Envoy as it is shipped."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from components.envoy.limits import BODY_BYTES, LARGE_BODIES, MEMORY_MIB
from tests.unit.envoy.caller import ask_at_once, ask_once, unfinished
from tests.unit.envoy.proxies import Bench, Proxy, bench, healthy, until

SENT = 3_900_000
CONNECTIONS = 300
SECRET, PROMPT = "Bearer sk-secret", "a prompt that is nobody's business"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def region(live: Bench) -> Proxy:
    made = live.region("east", {"coder": [live.replica("coder").port]})
    until(lambda: healthy(made.port), made)
    return made


def peak_mib(proxy: Proxy) -> int:
    """Most memory that the process ever had resident."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def logged(proxy: Proxy) -> list[dict[str, Any]]:
    lines = (proxy.folder / "log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_unfinished_bodies_take_a_bounded_memory_and_other_requests_are_answered(live: Bench) -> None:
    proxy = region(live)
    with ExitStack() as stack:
        held = unfinished(stack, proxy.port, CONNECTIONS, SENT, BODY_BYTES)
        answers = ask_at_once(proxy.port, [{"model": "coder"}] * 40)
        assert {answer.status for answer in answers} == {200}
        until(lambda: sum(not readable(one) for one in held) == LARGE_BODIES, proxy)
        assert peak_mib(proxy) < MEMORY_MIB
        # Where no body would be held at all, this would measure nothing.
        assert peak_mib(proxy) > LARGE_BODIES * SENT // 2**20


def readable(one: Any) -> bool:
    """Whether the proxy has answered, or ended, a connection."""
    return bool(select.select([one], [], [], 0)[0])


def test_a_body_without_a_model_to_read_is_not_held(live: Bench) -> None:
    """A GET is told apart by its path, so an unfinished body of one does not count."""
    proxy = region(live)
    answer = ask_once(proxy.port, method="GET", path="/v1/models", content_length=str(BODY_BYTES))
    assert answer.status == 200


def test_a_request_is_a_line_of_json_without_what_the_caller_said(live: Bench) -> None:
    proxy = region(live)
    body = {"model": "coder", "prompt": PROMPT}
    assert ask_once(proxy.port, body, path="/v1/completions?key=sk-query", authorization=SECRET).status == 200
    assert ask_once(proxy.port, {**body, "model": PROMPT}, authorization=SECRET).status == 404
    until(lambda: len(logged(proxy)) == 2, proxy)
    answered, refused = logged(proxy)
    assert (answered["status"], answered["service"], answered["path"]) == (200, "coder", "/v1/completions")
    assert (refused["status"], refused["details"]) == (404, "direct_response")
    log = (proxy.folder / "log").read_text()
    assert not any(secret in log for secret in ("sk-", "Bearer", PROMPT))


def test_a_request_that_ends_at_the_door_is_logged_once_and_health_checks_are_not(live: Bench) -> None:
    proxy = region(live)
    assert ask_once(proxy.port, {"model": "coder"}, content_length=str(BODY_BYTES + 1)).status == 413
    assert healthy(proxy.port)
    assert ask_once(proxy.port, {"model": "coder"}).status == 200
    until(lambda: len(logged(proxy)) == 2, proxy)
    assert [line["status"] for line in logged(proxy)] == [413, 200]


def test_the_client_in_the_log_is_who_the_load_balancer_in_front_says(live: Bench) -> None:
    """The region trusts one address that its front appended; a client's own words stand left of it."""
    proxy = region(live)
    given = "203.0.113.9, 198.51.100.7"
    assert ask_once(proxy.port, {"model": "coder"}, x_forwarded_for=given).status == 200
    assert ask_once(proxy.port, path="/v1/nope", x_forwarded_for=given).status == 404
    until(lambda: len(logged(proxy)) == 2, proxy)
    assert {line["client"] for line in logged(proxy)} == {"198.51.100.7"}


def test_an_answer_does_not_say_what_made_it(live: Bench) -> None:
    proxy = region(live)
    balancer = live.balancer({"east": proxy.port}, {"east": 1.0})
    bodies: list[object] = [{"model": "coder"}, {"model": "nope"}, b"{"]
    for port in (proxy.port, balancer.port):
        for body in bodies:
            headers = ask_once(port, body).headers
            assert not [name for name in headers if name == "server" or name.startswith("x-envoy")], headers


def test_a_caller_does_not_steer_the_proxy_by_its_own_headers(live: Bench) -> None:
    replica = live.replica("coder")
    proxy = live.region("east", {"coder": [replica.port]})
    until(lambda: healthy(proxy.port), proxy)
    answer = ask_once(
        proxy.port,
        {"model": "coder", "wait": 0.2},
        x_envoy_upstream_rq_timeout_ms="1",
        x_envoy_max_retries="9",
    )
    assert answer.status == 200
    (headers,) = replica.asked
    assert not {"x-envoy-upstream-rq-timeout-ms", "x-envoy-max-retries"} & set(headers)
