"""Prompts too large for the context, and many at once, while the server goes on with everything else."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from tests.workloads.serving.conftest import byte_tokenizer
from tests.workloads.serving.serving import HANG_SECONDS, NAME
from workloads.serving.app import create_app
from workloads.serving.auth import Door
from workloads.serving.engine import Engine
from workloads.serving.limits import Limits
from workloads.serving.metrics import Metrics
from workloads.serving.models import Models
from workloads.serving.state import CUT_AT_ONCE, Loaded, State

CONTEXT, TOKEN_BYTES = 64, 7


class Slow:
    """A tokenizer that cuts nothing before it is told to, and counts what it was given."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = threading.Event()

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.begun += texts
        assert self.go_on.wait(HANG_SECONDS)
        return byte_tokenizer().encode_batch_fast(texts, **options)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def client(slow: Slow) -> httpx.AsyncClient:
    """Of a server whose model's three places are free, but which never makes a token."""
    limits, metrics = Limits(answer_seconds=0.1), Metrics()
    state = State(NAME, "sha256:" + "a" * 64, Engine(2, 1), limits, metrics)
    tokenizer: Any = slow
    state.loaded = Loaded(tokenizer, None, CONTEXT, 257, "none", 0, TOKEN_BYTES)
    transport = httpx.ASGITransport(create_app(Models([state], Door(), limits, metrics)))
    return httpx.AsyncClient(transport=transport, base_url="http://server")


async def complete(client: httpx.AsyncClient, prompt: str) -> httpx.Response:
    return await client.post("/v1/completions", json={"model": NAME, "prompt": prompt, "max_tokens": 2})


def test_a_text_that_cannot_fit_the_context_is_refused_before_it_is_cut_into_tokens(
    client: httpx.AsyncClient, slow: Slow
) -> None:
    most = CONTEXT * TOKEN_BYTES
    refused = asyncio.run(complete(client, "é" * (most // 2 + 1))).json()["error"]
    assert refused["code"] == "context_length_exceeded" and f"{most} bytes is the most" in refused["message"]
    assert f"This model's maximum context length is {CONTEXT} tokens" in refused["message"]
    assert not slow.begun


def test_few_prompts_are_cut_at_once_while_health_answers_and_those_beyond_the_queue_are_turned_away(
    client: httpx.AsyncClient, slow: Slow
) -> None:
    async def ask() -> list[int]:
        three = [asyncio.create_task(complete(client, f"prompt {number}")) for number in range(3)]
        while len(slow.begun) < CUT_AT_ONCE:
            await asyncio.sleep(0.01)
        turned_away = await complete(client, "one more")
        health = await client.get("/v2/health/live")
        assert len(slow.begun) == CUT_AT_ONCE
        slow.go_on.set()
        return [turned_away.status_code, health.status_code, *[(await one).status_code for one in three]]

    assert asyncio.run(ask()) == [429, 200, 504, 504, 504]
    assert len(slow.begun) == 3
