"""The OpenAI routes in front of vLLM: who asks is known, what is asked is read, and the answer passes as it is.

Fields are those of engine `torch` and the few more of PASSED_ON; what nobody documents stays here, so that no request
reaches an option of vLLM that this contract does not name.
"""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from workloads.serving.answers import watched
from workloads.serving.bodies import body
from workloads.serving.completions import BrokenAnswer, check_stream, event
from workloads.serving.engine import QueueFull
from workloads.serving.exchange import Exchange, exchange
from workloads.serving.models import Models
from workloads.serving.openai import COMPLETION_DEFAULT_TOKENS, HONOURED, NEUTRAL, Ask, read
from workloads.serving.protocol import ApiError, json_object, queue_full
from workloads.serving.state import State
from workloads.serving.vllm.engine import Passage

PASSED_ON = {
    "logprobs",
    "top_logprobs",
    "response_format",
    "echo",
    "repetition_penalty",
    "min_p",
    "structured_outputs",
    "chat_template_kwargs",
}
"""Beside the fields of engine `torch`; vLLM reads and judges their values. The last four are its own."""
REFUSED = {field: neutral for field, neutral in NEUTRAL.items() if field not in PASSED_ON}
SENT = HONOURED | PASSED_ON
ERROR_EVENT = b'data: {"error"'
"""vLLM tells of a stream that broke and then ends it like a whole one. Text cannot look so: its quotes are escaped."""
END_EVENT = b"data: [DONE]"


async def forward(request: Request, models: Models, chat: bool) -> Response:
    """Answer by vLLM, byte for byte. Raises ApiError as answers.accept does, and 503 where vLLM is gone."""
    fields = json_object(await body(request, models))
    ask = read(fields, chat, REFUSED)
    check_stream(ask, request)
    state = models.get(ask.model)
    passage = enter(ask, state, request)
    path = "/v1/chat/completions" if chat else "/v1/completions"
    async with watched(passage, state, request):
        response = await passage.begin(path, content(fields, ask, state))
        if not ask.stream or response.status != 200:
            answer = await passage.read()
            passage.finish()
            note(response.status, answer, exchange(request))
            return Response(answer, response.status, media_type=response.content_type)
    return StreamingResponse(
        relay(passage, exchange(request)),
        media_type=response.content_type,
        headers={"cache-control": "no-cache"},
    )


async def continued(fields: dict[str, Any], state: State, request: Request) -> tuple[str, dict[str, Any]]:
    """The text that goes on after `fields["prompt"]`, and how it ended, for the Open Inference Protocol."""
    ask = read(fields, False, REFUSED)
    passage = enter(ask, state, request)
    async with watched(passage, state, request):
        response = await passage.begin("/v1/completions", content(fields, ask, state))
        whole = await passage.read()
    passage.finish()
    note(response.status, whole, exchange(request))
    if response.status != 200:
        raise refused(response.status, whole)
    answer = json.loads(whole)
    [choice], usage = answer["choices"], answer["usage"]
    facts = {"finish_reason": choice["finish_reason"], **usage}
    return choice["text"], {
        key: facts[key] for key in ("finish_reason", "prompt_tokens", "completion_tokens")
    }


def enter(ask: Ask, state: State, request: Request) -> Passage:
    """A place for what was asked. Raises ApiError: 400, 429 with Retry-After, or 503."""
    state.require()
    assert state.vllm is not None
    told = exchange(request)
    told.reach(state.name, state.version, "chat" if ask.messages is not None else "text_completion")
    if ask.max_tokens is not None:
        state.limits.check_tokens(ask.max_tokens)
    try:
        passage = state.vllm.enter(state.limits.answer_seconds)
    except QueueFull:
        raise queue_full() from None
    told.job = passage
    state.metrics.ignored(told, ask.ignored)
    return passage


def content(fields: dict[str, Any], ask: Ask, state: State) -> bytes:
    """What vLLM is asked: the fields that this contract names, and the limit of this server where none was asked for.

    Raises ApiError(400) for a value that JSON has not.
    """
    sent = {field: value for field, value in fields.items() if field in SENT}
    sent |= {"prompt": ask.prompt} if ask.messages is None else {"messages": ask.messages}
    sent |= {"stream_options": {"include_usage": ask.stream_usage} if ask.stream else None}
    most = state.limits.answer_tokens
    if ask.max_tokens is None and most is not None:
        sent["max_tokens"] = most if ask.messages is not None else min(most, COMPLETION_DEFAULT_TOKENS)
    try:
        return json.dumps(sent, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        message = "the body holds NaN, Infinity or half a surrogate pair; send numbers and whole characters"
        raise ApiError(400, message, code="invalid_value") from error


def refused(status: int, answer: bytes) -> ApiError:
    """vLLM's refusal as one of ours."""
    try:
        error = json.loads(answer)["error"]
        return ApiError(status, error["message"], error.get("param"), code="engine_refused")
    except (ValueError, KeyError, TypeError):
        message = "the engine behind this server refused the request"
        return ApiError(status, message, code="engine_refused")


def note(status: int, answer: bytes, told: Exchange) -> None:
    """Note the tokens of a whole answer. Those of a stream are in vLLM's own counters: it is not read here."""
    if status != 200:
        told.fail(str(status))
        return
    usage = json.loads(answer).get("usage") or {}
    told.prompt_tokens, told.output_tokens = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)


async def relay(passage: Passage, told: Exchange) -> AsyncIterator[bytes]:
    """vLLM's stream as it comes. Raises BrokenAnswer, so that a stream that broke has no end that HTTP knows."""
    last = b""  # the end of what was passed on: an event may come in two pieces
    try:
        while part := await passage.read_some():
            told.first = told.first or time.monotonic()
            if ERROR_EVENT in (seen := last + part):
                yield part.partition(END_EVENT)[0]
                passage.finish()
                told.fail("engine_failed")
                raise BrokenAnswer("engine_failed")
            yield part
            last = seen[-len(ERROR_EVENT) :]
    except ApiError as error:
        told.fail(error.code)
        if last.endswith(b"\n\n"):  # between two events
            yield event(error.body()).encode()
        raise BrokenAnswer(error.code) from error
    told.last = time.monotonic()
    passage.finish()
