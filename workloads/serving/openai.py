"""The OpenAI-compatible wire format: what a request may say, and the bodies that answer it.

Fields that are documented but cannot be honoured here are refused by name; silence would be a lie. Fields
nobody documents are ignored, as clients expect, and counted.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.serving.foreign import FOREIGN
from workloads.serving.messages import read_messages, unknown_in
from workloads.serving.protocol import (
    ApiError,
    flag,
    given,
    json_object,
    number,
    refuse,
    whole,
    whole_text,
    wrong,
)
from workloads.serving.terms import Options

COMPLETION_DEFAULT_TOKENS = 16  # what the format documents for /v1/completions
CHAT_DEFAULT_TOKENS = 256  # the format documents none; an answer on a few cores should end some time
BIASES = 1024  # entries of logit_bias: each is time per token that others of the batch wait for
STOP_TOKENS = 64  # entries of stop_token_ids
COLDEST = 1e-5  # scores divided by less overflow; the likeliest token wins long before

HONOURED = {
    "model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
    "stream", "stream_options", "presence_penalty", "frequency_penalty", "logit_bias", "top_k", "min_tokens",
    "ignore_eos", "stop_token_ids",
}  # fmt: skip
"""The last four are not OpenAI's but vLLM's; clients send them as `extra_body`."""

NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "moderation": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    **FOREIGN,
}
"""Documented, by OpenAI or by another server of this format, and not honoured: field -> the values that ask for
nothing; every other one is refused."""

MEANINGLESS = {
    "user", "metadata", "safety_identifier", "parallel_tool_calls",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
}  # fmt: skip
"""Documented, and about the sender or about what is refused above: they change no answer, so any value goes."""

STREAMING = {"include_usage", "include_obfuscation"}
"""Documented options of a stream."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that was understood. Exactly one of `prompt` and `messages` is set."""

    model: str
    prompt: str | list[int] | None
    messages: list[dict[str, str]] | None
    max_tokens: int | None
    options: Options
    """All but its max_tokens, which depends on the room that the prompt leaves where none was asked for."""
    stream: bool
    stream_usage: bool
    ignored: int
    """How many fields nobody documents, at any depth."""


def parse(raw: bytes, chat: bool) -> Ask:
    """Read a request body. Raises ApiError(400) naming field, value, rule and remedy."""
    return read(json_object(raw), chat)


def read(body: dict[str, Any], chat: bool, refused: Mapping[str, tuple[object, ...]] = NEUTRAL) -> Ask:
    """Read a request. Raises ApiError(400) naming field, value, rule and remedy."""
    refuse(body, refused)
    model = body.get("model")
    if not isinstance(model, str):
        raise wrong("model", model, "the name of a model, see /v1/models")
    old, new = (whole(body, limit, 1, 2**31) for limit in ("max_tokens", "max_completion_tokens"))
    streaming = {} if body.get("stream_options") is None else body["stream_options"]
    if not isinstance(streaming, dict):
        raise wrong("stream_options", streaming, 'an object such as {"include_usage": true}')
    refuse(streaming, {"include_obfuscation": (False,)}, "stream_options.")
    stream = flag(body, "stream")
    messages = read_messages(body.get("messages")) if chat else None
    known = HONOURED - {"prompt" if chat else "messages"} | NEUTRAL.keys() | MEANINGLESS
    ignored = len(body.keys() - known) + len(streaming.keys() - STREAMING)
    return Ask(
        model=model,
        prompt=None if chat else _prompt(body.get("prompt")),
        messages=messages,
        max_tokens=old if new is None else new,
        options=_options(body),
        stream=stream,
        stream_usage=flag(streaming, "include_usage") and stream,
        ignored=ignored + (unknown_in(body["messages"]) if chat else 0),
    )


def _options(body: dict[str, Any]) -> Options:
    temperature = number(body, "temperature", 1.0, 0.0, 2.0)
    return Options(
        max_tokens=1,
        temperature=temperature if temperature >= COLDEST else 0.0,
        top_p=number(body, "top_p", 1.0, 0.0, 1.0),
        top_k=max(whole(body, "top_k", -1, 2**31) or 0, 0),  # -1 is how some clients say all
        stop=_stop(body.get("stop")),
        seed=whole(body, "seed", -(2**63), 2**63 - 1),
        min_tokens=whole(body, "min_tokens", 0, 2**31) or 0,
        presence_penalty=number(body, "presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=number(body, "frequency_penalty", 0.0, -2.0, 2.0),
        logit_bias=_bias(body.get("logit_bias")),
        ignore_eos=flag(body, "ignore_eos"),
        stop_tokens=_stop_tokens(body.get("stop_token_ids")),
    )


def _stop_tokens(value: Any) -> tuple[int, ...]:
    tokens = value if value is not None else []
    if (
        not isinstance(tokens, list)
        or len(tokens) > STOP_TOKENS
        or not all(type(token) is int and token >= 0 for token in tokens)
    ):
        raise wrong("stop_token_ids", value, f"a list of at most {STOP_TOKENS} token numbers")
    return tuple(tokens)


def _bias(value: Any) -> tuple[tuple[int, float], ...]:
    rule = 'an object from token numbers to a number from -100 to 100, such as {"50256": -100}'
    if value is not None and not isinstance(value, dict):
        raise wrong("logit_bias", value, rule)
    if value and len(value) > BIASES:
        message = f"logit_bias has {len(value)} entries; at most {BIASES} are allowed; leave some out"
        raise ApiError(400, message, "logit_bias", code="invalid_value")
    pairs = []
    for token, bias in (value or {}).items():
        if not (token.isascii() and token.isdecimal() and len(token) < 10):
            message = f"logit_bias has a key that is no token number; it must be {rule}"
            raise ApiError(400, message, "logit_bias", code="invalid_value")
        if token != str(int(token)):
            message = (
                f'logit_bias has the key "{token}"; a token number must have no zeros before it, or one token could '
                f'stand there twice; write "{int(token)}"'
            )
            raise ApiError(400, message, "logit_bias", code="invalid_value")
        if type(bias) not in (int, float) or not -100 <= bias <= 100:
            message = f"logit_bias of token {token} is {given(bias)}; logit_bias must be {rule}"
            raise ApiError(400, message, "logit_bias", code="invalid_value")
        pairs.append((int(token), float(bias)))
    return tuple(pairs)


def _prompt(value: Any) -> str | list[int]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]  # a batch of one is not a batch
    if isinstance(value, str) and value:
        return whole_text("prompt", value)
    if isinstance(value, list) and value and all(type(token) is int for token in value):
        return value
    raise wrong("prompt", value, "one non-empty string or one list of token numbers (one prompt per request)")


def _stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or len(stops) > 4 or "" in stops:
        raise wrong("stop", value, "a non-empty string or a list of at most 4 of them")
    for index, stop in enumerate(stops):
        if not isinstance(stop, str):
            message = f"stop[{index}] is {given(stop)}; it must be a non-empty string"
            raise ApiError(400, message, "stop", code="invalid_value")
    return tuple(whole_text("stop", stop) for stop in stops)


@dataclass(frozen=True, slots=True)
class Answer:
    """The bodies of one answer, whole or in chunks; all share one id and creation time (Unix seconds)."""

    chat: bool
    model: str
    fingerprint: str
    id: str
    created: int

    @classmethod
    def start(cls, chat: bool, model: str, fingerprint: str) -> "Answer":
        prefix = "chatcmpl-" if chat else "cmpl-"
        return cls(chat, model, fingerprint, prefix + uuid.uuid4().hex, int(time.time()))

    def whole(self, text: str, finish_reason: str, usage: dict[str, int]) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {**self._body(content, finish_reason, chunk=False), "usage": usage}

    def chunk(self, text: str, finish_reason: str | None, first: bool = False) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if text or first:
            delta["content"] = text
        return self._body({"delta": delta} if self.chat else {"text": text}, finish_reason, chunk=True)

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        return {**self._body({}, None, chunk=True), "choices": [], "usage": usage}

    def _body(self, content: dict[str, Any], finish_reason: str | None, chunk: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.chat else "text_completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}],
        }


def usage(prompt: int, answer: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
