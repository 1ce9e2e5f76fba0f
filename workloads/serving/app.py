"""The HTTP routes: OpenAI-compatible answers, Open Inference Protocol health, Prometheus metrics."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workloads.serving import log
from workloads.serving.engine import Job, QueueFull
from workloads.serving.metrics import TokenClock
from workloads.serving.protocol import (
    CHAT_DEFAULT_TOKENS,
    COMPLETION_DEFAULT_TOKENS,
    Answer,
    ApiError,
    Ask,
    parse,
    usage,
)
from workloads.serving.state import State
from workloads.serving.terms import Options, Piece, PromptTooLong

MAX_BODY_BYTES = 4 * 1024 * 1024  # far above any prompt that fits a context, far below what could hurt
DISCONNECT_POLL_SECONDS = 0.1
CLIENT_LEFT = 499  # counted as status where no answer could be sent
JOB = "skerry.job"  # where a request's scope keeps its job


def create_app(state: State) -> FastAPI:
    """The application over `state`; it answers before a model is loaded, and says so."""
    app = FastAPI(title="Skerry serving", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_Account, state=state)

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        known = "POST /v1/completions, POST /v1/chat/completions, GET /v1/models"
        message = f"{error.detail}: {request.method} {request.url.path}; there are {known}"
        return JSONResponse(
            ApiError(error.status_code, message).body(), error.status_code, headers=error.headers
        )

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _answer(request, state, chat=False)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await _answer(request, state, chat=True)

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [_card(state)] if state.loaded else []})

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        state.require(name)
        return JSONResponse(_card(state))

    @app.get("/v2/health/live")
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        return JSONResponse({"ready": state.ready}, 200 if state.ready else 503)

    @app.get("/v2/models/{name}/ready")
    async def model_ready(name: str) -> Response:
        if name != state.name:
            state.require(name)  # says which name is served
        return JSONResponse({"name": name, "ready": state.ready}, 200 if state.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        state.metrics.ready.set(int(state.ready))
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _card(state: State) -> dict[str, Any]:
    loaded = state.loaded
    return {
        "id": state.name,
        "object": "model",
        "created": loaded.created if loaded else 0,
        "owned_by": "skerry",
        "version": state.digest.removeprefix("sha256:")[:12],
        "digest": state.digest,
        "scheme": loaded.scheme if loaded else None,
        "context_length": loaded.context_length if loaded else None,
    }


async def _answer(request: Request, state: State, chat: bool) -> Response:
    ask = parse(await _body(request), chat)
    job = request.scope[JOB] = await _accept(ask, state, chat)
    answer = Answer.start(chat, state.name, state.fingerprint)
    if ask.stream:
        events = _events(job, ask, state, answer)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )
    async with _watched(job, state, request):
        text, piece = "", None
        async for piece in _pieces(job, state):
            text += piece.text
    if piece is None or piece.finish_reason in (None, "cancelled"):
        raise ApiError(503, "this answer was ended early; try again", code="cancelled")
    return JSONResponse(answer.whole(text, piece.finish_reason, usage(len(job.prompt), piece.tokens)))


async def _body(request: Request) -> bytes:
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY_BYTES:
            raise ApiError(413, f"the body is larger than {MAX_BODY_BYTES} bytes; send a shorter prompt")
    return bytes(raw)


async def _accept(ask: Ask, state: State, chat: bool) -> Job:
    """Queue what was asked. Raises ApiError: 400, 404, 429 with Retry-After, or 503."""
    loaded = state.require(ask.model)
    prompt = await asyncio.to_thread(state.prompt_tokens, ask, loaded)
    room = loaded.context_length - len(prompt)
    default = min(CHAT_DEFAULT_TOKENS if chat else COMPLETION_DEFAULT_TOKENS, max(room, 1))
    options = Options(
        ask.max_tokens or default,
        temperature=ask.temperature,
        top_p=ask.top_p,
        stop=ask.stop,
        seed=ask.seed,
    )
    if not prompt:
        raise ApiError(400, "the prompt has no tokens; give some text", "prompt", "invalid_value")
    state.require(ask.model)  # again: draining may have begun while the prompt was cut into tokens
    job = Job(prompt, options)
    try:
        state.engine.submit(job)
    except PromptTooLong as error:
        raise ApiError(
            400, str(error), "messages" if chat else "prompt", "context_length_exceeded"
        ) from error
    except QueueFull:
        message = "as many requests wait here as may; try again in a second, or another replica"
        raise ApiError(429, message, code="queue_full", headers={"retry-after": "1"}) from None
    state.metrics.prompt_tokens.inc(len(prompt))
    return job


async def _pieces(job: Job, state: State) -> AsyncIterator[Piece]:
    clock = TokenClock(state.metrics)
    while True:
        try:
            piece = await job.next()
        except Exception as error:
            raise ApiError(500, "generating this answer failed; the server's log says where") from error
        clock.tick(piece.tokens)
        yield piece
        if piece.finish_reason:
            return


async def _events(job: Job, ask: Ask, state: State, answer: Answer) -> AsyncIterator[str]:
    """The answer as server-sent events; the first chunk of a chat carries the role."""
    first = True
    try:
        async for piece in _pieces(job, state):
            if piece.finish_reason == "cancelled":
                raise ApiError(503, "this answer was ended early; try again", code="cancelled")
            if piece.text or piece.finish_reason or first:
                yield _event(answer.chunk(piece.text, piece.finish_reason, first))
                first = False
            if piece.finish_reason and ask.stream_usage:
                yield _event(answer.usage_chunk(usage(len(job.prompt), piece.tokens)))
    except ApiError as error:  # the status line is long gone: the error travels as an event
        yield _event(error.body())
    yield "data: [DONE]\n\n"


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


@asynccontextmanager
async def _watched(job: Job, state: State, request: Request) -> AsyncIterator[None]:
    """Ends `job` when the client goes away while the body of this block waits for it."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(DISCONNECT_POLL_SECONDS)
        state.engine.cancel(job)

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


class _Account:
    """Counts answers, names the model version in each, and ends a generation that nobody waits for."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0  # nothing answered yet

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = [(key.encode(), value.encode()) for key, value in self._state.headers().items()]
                message["headers"] = [*message["headers"], *named]
            await send(message)

        self._state.open_answers += 1
        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            pass  # left while sending its request: nobody to answer
        except Exception as error:
            log.failure("a request", error)
            if status == 0:
                broken = ApiError(500, "this server failed on the request; its log says where")
                await JSONResponse(broken.body(), 500)(scope, receive, send_named)
        finally:
            self._state.open_answers -= 1
            job: Job | None = scope.get(JOB)
            if job is not None and not job.finished:  # the client left, or this answer broke
                self._state.engine.cancel(job)
                self._state.metrics.cancelled.inc()
            # the route's pattern, not its path: a path is the client's text
            route = getattr(scope.get("route"), "path", "unknown")
            self._state.metrics.requests.labels(route, str(status or CLIENT_LEFT)).inc()
