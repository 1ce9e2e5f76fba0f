"""One answer from request to last token, whatever the wire format: read, queue, hand on, let go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import Request

from workloads.serving.engine import Job, QueueFull
from workloads.serving.exchange import CLIENT_LEFT, exchange
from workloads.serving.openai import CHAT_DEFAULT_TOKENS, COMPLETION_DEFAULT_TOKENS, Ask
from workloads.serving.prompts import prompt_tokens
from workloads.serving.protocol import ApiError, queue_full, wrong
from workloads.serving.state import State
from workloads.serving.terms import Piece, PromptTooLong

if TYPE_CHECKING:
    from workloads.serving.embeddings import Embedding
    from workloads.serving.vllm.engine import Passage

DISCONNECT_POLL_SECONDS = 0.1


async def accept(ask: Ask, state: State, request: Request) -> Job:
    """Queue what was asked of this model. Raises ApiError: 400, 429 with Retry-After, or 503."""
    chat = ask.messages is not None
    loaded = state.require()
    told = exchange(request)
    told.reach(state.name, state.version, "chat" if chat else "text_completion")
    loop = asyncio.get_running_loop()
    try:
        with state.engine.place():  # who would not be let in is told so before a prompt is cut
            prompt = await loop.run_in_executor(state.cutters, prompt_tokens, ask, state.name, loaded)
    except QueueFull:
        raise queue_full() from None
    if not prompt:
        raise ApiError(400, "the prompt has no tokens; give some text", "prompt", code="invalid_value")
    default = CHAT_DEFAULT_TOKENS if chat else COMPLETION_DEFAULT_TOKENS
    room = min(loaded.context_length, state.engine.cache_tokens() or loaded.context_length) - len(prompt)
    tokens = ask.max_tokens or min(default, max(room, 1), state.limits.answer_tokens or default)
    state.limits.check_tokens(tokens)
    if (least := ask.options.min_tokens) > tokens:
        raise wrong("min_tokens", least, f"at most {tokens}, the tokens that this answer may have")
    state.require()  # again: draining may have begun while the prompt was cut into tokens
    job = Job(prompt, replace(ask.options, max_tokens=tokens))
    try:
        state.engine.submit(job)
    except PromptTooLong as error:
        field = "messages" if chat else "prompt"
        raise ApiError(400, str(error), field, code="context_length_exceeded") from error
    except QueueFull:
        raise queue_full() from None
    told.job, told.prompt_tokens = job, len(prompt)
    state.metrics.ignored(told, ask.ignored)
    return job


async def pieces(job: Job, state: State, request: Request) -> AsyncIterator[Piece]:
    """The answer as it comes. Raises ApiError: 500 where it broke, 503 where it was ended, 504 out of time."""
    told = exchange(request)
    seconds = state.limits.answer_seconds
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(deadline):  # wait_for would make a task of each piece
                piece = await job.next()
            if loop.time() > deadline:  # pieces that lie ready are not waited for
                raise TimeoutError
        except TimeoutError:
            message = f"this answer took longer than {seconds:g} seconds; lower max_tokens"
            raise ApiError(504, message, code="timeout") from None  # whoever asked lets the job go
        except Exception as error:
            raise ApiError(
                500, "generating this answer failed; the server's log says where", code="internal_error"
            ) from error
        if piece.finish_reason == "cancelled":
            raise ApiError(503, "this answer was ended early; try again", code="cancelled")
        if (seconds_between := told.token(piece.tokens)) is not None:
            state.metrics.between_tokens(told, seconds_between)
        told.finish_reason = piece.finish_reason or ""
        yield piece
        if piece.finish_reason:
            return


async def whole(job: Job, state: State, request: Request) -> tuple[str, Piece]:
    """The text of the whole answer and its last piece. Raises what `pieces` raises."""
    async with watched(job, state, request):
        text, piece = "", Piece("", 0)
        async for piece in pieces(job, state, request):
            text += piece.text
    return text, piece


@asynccontextmanager
async def watched(job: "Job | Passage | Embedding", state: State, request: Request) -> AsyncIterator[None]:
    """Ends `job` when the client goes away while the body of this block waits for it."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(DISCONNECT_POLL_SECONDS)
        exchange(request).fail(CLIENT_LEFT)
        state.cancel(job)

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
