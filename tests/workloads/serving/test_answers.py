"""The bundled real model, quantized, answers right over HTTP; and a chat is the template's text."""

import re
from typing import Any

import pytest

from tests.workloads.serving.serving import NAME, Running, events, running


@pytest.fixture(scope="module")
def answering(smollm2: dict[str, Any]) -> Any:
    with running(smollm2) as server:
        yield server


@pytest.mark.parametrize(
    ("question", "word"),
    [("Which city is the capital of France? Answer with one word.", "Paris"), ("What is 2+2?", "4")],
)
def test_smollm2_in_int8_answers(answering: Running, question: str, word: str) -> None:
    choice = answering.chat(question, max_tokens=32).json()["choices"][0]
    assert word in choice["message"]["content"]
    assert choice["finish_reason"] == "stop", "the end token should end it"


def test_a_streamed_chat_adds_up_to_the_whole_one(answering: Running) -> None:
    body = {"model": NAME, "messages": [{"role": "user", "content": "Name three colours."}], "temperature": 0}
    with answering.client.stream(
        "POST", "/v1/chat/completions", json={**body, "max_tokens": 16, "stream": True}
    ) as response:
        chunks = events(response.iter_lines())
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    whole = answering.chat("Name three colours.", max_tokens=16).json()["choices"][0]["message"]["content"]
    assert "".join(delta.get("content", "") for delta in deltas) == whole


@pytest.fixture(scope="module")
def chatting(tiny_chat: dict[str, Any]) -> Any:
    with running(tiny_chat, "--cache-mib", "1") as server:
        yield server


def test_a_chat_is_the_completion_of_its_template(chatting: Running) -> None:
    chat = chatting.chat("hi", max_tokens=12).json()
    plain = chatting.complete("[user]hi>", max_tokens=12).json()
    assert chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"]
    assert chat["usage"] == plain["usage"]


def test_an_answer_whose_length_nobody_gave_takes_what_the_cache_has_left(chatting: Running) -> None:
    refused = chatting.chat("hi", max_tokens=60_000).json()["error"]["message"]
    found = re.search(r"cache holds (\d+) tokens", refused)
    assert found, refused
    usage = chatting.chat("x" * (int(found[1]) - len("[user]>") - 5)).json()["usage"]
    assert usage["completion_tokens"] == 5
