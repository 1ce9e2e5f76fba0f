"""Answers of an encoder: one thread computes, a bounded number of requests wait for it; and the OpenAI route."""

import asyncio
import base64
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from workloads.serving.answers import watched
from workloads.serving.bodies import body
from workloads.serving.exchange import exchange
from workloads.serving.models import Models
from workloads.serving.protocol import ApiError, json_object, queue_full, whole, whole_text, wrong
from workloads.serving.state import State
from workloads.serving.terms import Counts, GivenUp, PromptTooLong

MOST_TEXTS = 2048  # of one request, as OpenAI's own limit
FIELDS = {"model", "input", "encoding_format", "user", "dimensions"}

Made = tuple[list[list[float]], int]
"""One vector per text, and the tokens read."""
Embed = Callable[[Sequence[str], Callable[[], bool]], Made]
"""Of texts, until nobody waits for them any more: then it raises GivenUp."""


class Embedding:
    """One request on its way through an encoder."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.future: Future[Made] | None = None
        self._over = threading.Event()

    def cancel(self) -> None:
        """Ask for an early end: at once while it waits, else before the next pass; harmless after the end."""
        self._over.set()
        if self.future is not None:
            self.future.cancel()

    def cancelled(self) -> bool:
        return self._over.is_set()


class Embedder:
    """`embed` on a thread of its own. At most `limit` requests are taken at a time."""

    def __init__(self, embed: Embed, limit: int) -> None:
        self._embed = embed
        self._limit = limit
        self._open: set[Embedding] = set()
        self._counts = Counts()
        self._thread = ThreadPoolExecutor(1, "embed")

    async def __call__(self, job: Embedding, seconds: float) -> Made:
        """The vectors of `job`, within `seconds`.

        Raises ApiError: 400 for a long text, 429 when busy, 503 where it was ended early, 504 out of time.
        """
        if len(self._open) >= self._limit:
            raise queue_full()
        self._open.add(job)
        try:
            job.future = self._thread.submit(self._embed, job.texts, job.cancelled)
            async with asyncio.timeout(seconds):
                made = await asyncio.wrap_future(job.future)
        except PromptTooLong as error:
            raise ApiError(400, str(error), "input", code="context_length_exceeded") from error
        except TimeoutError:
            message = f"these vectors took longer than {seconds:g} seconds; send fewer texts in one request"
            raise ApiError(504, message, code="timeout") from None
        except (GivenUp, asyncio.CancelledError):
            if not job.cancelled():
                raise  # this very task was cancelled
            raise ApiError(503, "this answer was ended early; try again", code="cancelled") from None
        finally:
            job.cancel()
            self._open.discard(job)
        self._counts.prompt_tokens += made[1]
        return made

    def cancel_all(self) -> None:
        """End everything early, for a shutdown that ran out of time."""
        for job in tuple(self._open):
            job.cancel()

    def waiting(self) -> int:
        return max(len(self._open) - 1, 0)

    def running(self) -> int:
        return min(len(self._open), 1)

    def cache_usage(self) -> float:
        """0: an encoder keeps nothing."""
        return 0.0

    def cache_blocks(self) -> int:
        return 0

    def block_tokens(self) -> int:
        return 0

    def counts(self) -> Counts:
        """Prompt tokens only."""
        return self._counts


def routes(models: Models) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        ask = json_object(await body(request, models))
        model, form = ask.get("model"), ask.get("encoding_format")
        if not isinstance(model, str):
            raise wrong("model", model, "the name of a model, see /v1/models")
        if form not in (None, "float", "base64"):
            raise wrong("encoding_format", form, "float or base64")
        texts = texts_of("input", ask.get("input"))
        state = models.get(model)
        size, asked = state.require().vector_size, whole(ask, "dimensions", 1, 2**31)
        if size and asked not in (None, size):
            raise wrong(
                "dimensions", asked, f"{size}, the numbers that this model's vectors have, or left out"
            )
        vectors, tokens = await embed(state, texts, request)
        models.metrics.ignored(exchange(request), len(ask.keys() - FIELDS))
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if form == "base64" else vector,
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})

    return router


async def embed(state: State, texts: Sequence[str], request: Request) -> tuple[list[list[float]], int]:
    """Raises ApiError, also where the model is not an encoder."""
    loaded = state.require()
    if loaded.embed is None:
        raise ApiError(
            400,
            f"model {state.name!r} continues text, it gives no embeddings; use /v1/completions",
            "model",
            code="not_an_encoder",
        )
    told = exchange(request)
    told.reach(state.name, state.version, "embeddings")
    job = Embedding(texts)
    async with watched(job, state, request):
        vectors, tokens = await loaded.embed(job, state.limits.answer_seconds)
    told.prompt_tokens = tokens
    return vectors, tokens


def texts_of(field: str, value: Any) -> list[str]:
    """One text or a list of them. Raises ApiError(400)."""
    texts = [value] if isinstance(value, str) else value
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= MOST_TEXTS
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise wrong(
            field,
            value,
            f"a non-empty string or a list of 1 to {MOST_TEXTS} of them (text, no token numbers)",
        )
    return [whole_text(field, text) for text in texts]


def _packed(vector: Sequence[float]) -> str:
    """Little-endian fp32, which is what the official client asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
