"""Answers of an encoder: one thread computes, a bounded number of requests wait for it; and the OpenAI route."""

import asyncio
import base64
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from workloads.serving.answers import body
from workloads.serving.exchange import exchange
from workloads.serving.models import Models
from workloads.serving.openai import refuse
from workloads.serving.protocol import ApiError, json_object, whole_text, wrong
from workloads.serving.state import State
from workloads.serving.terms import Counts, PromptTooLong

MOST_TEXTS = 2048  # of one request, as OpenAI's own limit
NEUTRAL: dict[str, tuple[object, ...]] = {"dimensions": ()}
FIELDS = {"model", "input", "encoding_format", "user", *NEUTRAL}

Embed = Callable[[Sequence[str]], tuple[list[list[float]], int]]


class Embedder:
    """`embed` on a thread of its own. At most `limit` requests are taken at a time."""

    def __init__(self, embed: Embed, limit: int) -> None:
        self._embed = embed
        self._limit = limit
        self._open = 0
        self._counts = Counts()
        self._thread = ThreadPoolExecutor(1, "embed")

    async def __call__(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """One vector per text, and the tokens read. Raises ApiError: 400 for a long text, 429 when busy."""
        if self._open >= self._limit:
            message = "as many requests wait here as may; try again in a second, or another replica"
            raise ApiError(429, message, code="queue_full", headers={"retry-after": "1"})
        self._open += 1
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts)
        except PromptTooLong as error:
            raise ApiError(400, str(error), "input", "context_length_exceeded") from error
        finally:
            self._open -= 1
        self._counts.prompt_tokens += made[1]
        return made

    def waiting(self) -> int:
        return max(self._open - 1, 0)

    def running(self) -> int:
        return min(self._open, 1)

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
        ask = json_object(await body(request, models.limits))
        refuse(ask, NEUTRAL)
        model, form = ask.get("model"), ask.get("encoding_format") or "float"
        if not isinstance(model, str):
            raise wrong("model", model, "the name of a model, see /v1/models")
        if form not in ("float", "base64"):
            raise wrong("encoding_format", form, "float or base64")
        texts = texts_of("input", ask.get("input"))
        vectors, tokens = await embed(models.get(model), texts, request)
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
            "not_an_encoder",
        )
    told = exchange(request)
    told.reach(state.name, state.version, "embeddings")
    vectors, tokens = await loaded.embed(texts)
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
        raise wrong(field, value, f"a non-empty string or a list of 1 to {MOST_TEXTS} of them")
    return [whole_text(field, text) for text in texts]


def _packed(vector: Sequence[float]) -> str:
    """Little-endian fp32, which is what the official client asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
