"""The OpenAI routes of a model that continues text: whole answers and server-sent events."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from workloads.serving.answers import accept, pieces, whole
from workloads.serving.bodies import body
from workloads.serving.engine import Job
from workloads.serving.exchange import exchange
from workloads.serving.models import Models
from workloads.serving.openai import Answer, Ask, parse, usage
from workloads.serving.protocol import ApiError
from workloads.serving.state import State


class BrokenAnswer(Exception):
    """A stream that cannot be finished: its connection closes without the end that HTTP wants."""


def routes(models: Models) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _answer(request, models, chat=False)

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await _answer(request, models, chat=True)

    @router.get("/v1/models")
    async def cards() -> Response:
        loaded = [_card(state) for state in models.states if state.loaded]
        return JSONResponse({"object": "list", "data": loaded})

    @router.get("/v1/models/{name:path}")
    async def card(name: str) -> Response:
        state = models.get(name)
        state.require()
        return JSONResponse(_card(state))

    return router


def _card(state: State) -> dict[str, Any]:
    loaded = state.loaded
    return {
        "id": state.name,
        "object": "model",
        "created": loaded.created if loaded else 0,
        "owned_by": "skerry",
        "version": state.version,
        "digest": state.digest,
        "scheme": loaded.scheme if loaded else None,
        "context_length": loaded.context_length if loaded else None,
    }


async def _answer(request: Request, models: Models, chat: bool) -> Response:
    if models.states[0].vllm is not None:
        from workloads.serving.vllm.front import forward  # only where its HTTP client is wanted

        return await forward(request, models, chat)
    ask = parse(await body(request, models), chat)
    check_stream(ask, request)
    state = models.get(ask.model)
    job = await accept(ask, state, request)
    answer = Answer.start(chat, state.name, state.fingerprint)
    if ask.stream:
        return StreamingResponse(
            _events(job, ask, state, answer, request),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache"},
        )
    text, last = await whole(job, state, request)
    return JSONResponse(answer.whole(text, last.finish_reason or "stop", usage(len(job.prompt), last.tokens)))


def check_stream(ask: Ask, request: Request) -> None:
    """Raises ApiError(400) for a stream over HTTP/1.0: there a body ends with its connection, a broken one too."""
    if ask.stream and request.scope["http_version"] == "1.0":
        message = "stream is true, but HTTP/1.0 cannot tell a broken one from a whole one; ask with HTTP/1.1"
        raise ApiError(400, message, "stream", code="unsupported_field")


async def _events(job: Job, ask: Ask, state: State, answer: Answer, request: Request) -> AsyncIterator[str]:
    """The answer as server-sent events; the first chunk of a chat carries the role.

    Raises BrokenAnswer after an event that tells why: a proxy or client that knows nothing of events must not
    take half an answer for a whole one, so the body is left without its end.
    """
    first = True
    shared: dict[str, Any] = {"usage": None} if ask.stream_usage else {}  # as the format documents it
    try:
        async for piece in pieces(job, state, request):
            if piece.text or piece.finish_reason or first:
                yield event(answer.chunk(piece.text, piece.finish_reason, first) | shared)
                first = False
            if piece.finish_reason and ask.stream_usage:
                yield event(answer.usage_chunk(usage(len(job.prompt), piece.tokens)))
    except ApiError as error:  # the status line is long gone
        exchange(request).fail(error.code)
        yield event(error.body())
        raise BrokenAnswer(error.code) from error
    yield "data: [DONE]\n\n"


def event(content: dict[str, Any]) -> str:
    """One server-sent event, in ASCII: some clients take U+2028 and its like for the end of a line."""
    return f"data: {json.dumps(content)}\n\n"
