"""The OpenAI-compatible wire format: what a request may say, and the bodies that answer it.

Fields that are documented but cannot be honoured here are refused by name; silence would be a lie. Fields
nobody documents are ignored, as clients expect.
"""

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

COMPLETION_DEFAULT_TOKENS = 16  # what the format documents for /v1/completions
CHAT_DEFAULT_TOKENS = 256  # the format documents none; an answer on a few cores should end some time

# Field -> the values that ask for nothing special; every other value is refused.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
    "store": (False,),
}


class ApiError(Exception):
    """An answer with an OpenAI-shaped error body: HTTP `status`, message, and the field it is about."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that was understood. Exactly one of `prompt` and `messages` is set."""

    model: str
    prompt: str | list[int] | None
    messages: list[dict[str, str]] | None
    max_tokens: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    stream_usage: bool


def parse(raw: bytes, chat: bool) -> Ask:
    """Read a request body. Raises ApiError(400) naming field, value, rule and remedy."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON ({error}); send one JSON object") from error
    if not isinstance(body, dict):
        raise ApiError(400, f"the body is {_kind(body)}, not an object; send one JSON object")
    for field, neutral in _NEUTRAL.items():
        value = body.get(field)
        if value is not None and not any(value == fine and _kind(value) == _kind(fine) for fine in neutral):
            raise ApiError(
                400,
                f"{field} is set, but this server cannot honour it; leave {field} out",
                field,
                "unsupported_field",
            )
    model = body.get("model")
    if not isinstance(model, str):
        raise _wrong("model", model, "the name of a model, see /v1/models")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", options, 'an object such as {"include_usage": true}')
    stream = _flag(body, "stream")
    return Ask(
        model=model,
        prompt=None if chat else _prompt(body.get("prompt")),
        messages=_messages(body.get("messages")) if chat else None,
        max_tokens=_whole(body, limit, 1, 2**31),
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        stop=_stop(body.get("stop")),
        seed=_whole(body, "seed", -(2**63), 2**63 - 1),
        stream=stream,
        stream_usage=stream and _flag(options or {}, "include_usage"),
    )


def _prompt(value: Any) -> str | list[int]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]  # a batch of one is not a batch
    if isinstance(value, str) and value:
        return _text("prompt", value)
    if isinstance(value, list) and value and all(type(token) is int for token in value):
        return value
    raise _wrong(
        "prompt", value, "one non-empty string or one list of token numbers (one prompt per request)"
    )


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise _wrong("messages", value, 'a non-empty list such as [{"role": "user", "content": "Hello"}]')
    return [_message(f"messages[{index}]", message) for index, message in enumerate(value)]


def _message(where: str, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise _wrong(where, message, "an object with role and content")
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "developer", "user", "assistant"):
        raise _wrong(f"{where}.role", role, "system, developer, user or assistant")
    if message.get("tool_calls") or message.get("function_call"):
        raise ApiError(
            400, f"{where} holds tool calls, which this server cannot honour; send text only", where
        )
    if isinstance(content, list):  # the format's other spelling: a list of parts
        texts = [
            part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"
        ]
        if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
            raise _wrong(f"{where}.content", content, "text; parts of another type cannot be honoured")
        content = "".join(str(text) for text in texts)
    if not isinstance(content, str):
        raise _wrong(f"{where}.content", content, "a string")
    return {"role": "system" if role == "developer" else role, "content": _text(f"{where}.content", content)}


def _stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if (
        not isinstance(stops, list)
        or len(stops) > 4
        or not all(isinstance(stop, str) and stop for stop in stops)
    ):
        raise _wrong("stop", value, "a non-empty string or a list of at most 4 of them")
    return tuple(_text("stop", stop) for stop in stops)


def _text(field: str, value: str) -> str:
    """JSON can spell half of a surrogate pair, which is no character and cannot be encoded."""
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"{field} holds half a surrogate pair (\\ud800 to \\udfff); send whole characters"
        raise ApiError(400, message, field, "invalid_value") from None
    return value


def _number(body: dict[str, Any], field: str, default: float, low: float, high: float) -> float:
    value = body.get(field)
    if value is None:
        return default
    if type(value) not in (int, float) or not low <= value <= high:
        raise _wrong(field, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _whole(body: dict[str, Any], field: str, low: int, high: int) -> int | None:
    value = body.get(field)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise _wrong(field, value, f"a whole number from {low} to {high}")
    return value


def _flag(body: dict[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is not None and type(value) is not bool:
        raise _wrong(field, value, "true or false")
    return bool(value)


def _wrong(field: str, value: object, rule: str) -> ApiError:
    """Names the kind of a text value, never the text: prompts do not belong in a client's error log."""
    given = repr(value) if value is None or isinstance(value, int | float) else _kind(value)
    return ApiError(400, f"{field} is {given}; it must be {rule}", field, "invalid_value")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


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
