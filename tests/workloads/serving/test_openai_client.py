"""The official client, as an application uses it, against a really running server."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.workloads.serving.serving import HANG_SECONDS, NAME, Running, running

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def chatting(tiny_chat: dict[str, Any]) -> Iterator[Running]:
    with running(tiny_chat) as server:
        yield server


@pytest.fixture
def client(chatting: Running) -> Iterator[openai.OpenAI]:
    address = str(chatting.client.base_url.join("/v1"))
    with openai.OpenAI(base_url=address, api_key="none", timeout=HANG_SECONDS, max_retries=0) as client:
        yield client


def test_a_streamed_completion_is_the_whole_one(client: openai.OpenAI) -> None:
    ask: Callable[..., Any] = client.completions.create
    common = {"model": NAME, "prompt": "def f(", "max_tokens": 12, "temperature": 0.8, "seed": 3}
    whole = ask(**common, extra_body={"top_k": 20})
    chunks = list(
        ask(**common, extra_body={"top_k": 20}, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].usage == whole.usage and whole.usage.completion_tokens == 12
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_a_streamed_chat_is_the_whole_one(client: openai.OpenAI) -> None:
    ask: Callable[..., Any] = client.chat.completions.create
    common = {"model": NAME, "messages": MESSAGES, "max_completion_tokens": 12, "temperature": 0}
    whole = ask(**common)
    chunks = list(ask(**common, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert deltas[0].role == whole.choices[0].message.role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_the_client_finds_the_model_and_understands_refusals(client: openai.OpenAI) -> None:
    assert [card.id for card in client.models.list()] == [NAME]
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.models.retrieve("gpt-9")
    with pytest.raises(openai.BadRequestError, match="leave n out") as refused:
        client.completions.create(model=NAME, prompt="x", n=2)
    assert (refused.value.param, refused.value.code) == ("n", "unsupported_field")
