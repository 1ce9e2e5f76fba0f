"""Vectors that take too long, or that nobody waits for any more: the one thread of an encoder is free again."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.workloads.serving.serving import HANG_SECONDS
from workloads.serving.embeddings import Embedder, Embedding
from workloads.serving.protocol import ApiError
from workloads.serving.terms import GivenUp


class Endless:
    """Computes until nobody waits (or a test has waited in vain), but for the text "short"."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.freed: list[str] = []  # given up while it computed
        self.working = threading.Event()

    def __call__(self, texts: Sequence[str], given_up: Callable[[], bool]) -> Any:
        self.begun += texts
        self.working.set()
        deadline = time.monotonic() + HANG_SECONDS
        while texts[0] != "short" and time.monotonic() < deadline:
            if given_up():
                self.freed += texts
                raise GivenUp
        return [[1.0]], 1


async def status(embedder: Embedder, text: str, seconds: float = 600.0) -> int:
    try:
        await embedder(Embedding([text]), seconds)
    except ApiError as error:
        return error.status
    return 200


def test_vectors_that_take_too_long_are_a_504_and_leave_the_thread_to_the_next() -> None:
    endless = Endless()
    embedder = Embedder(endless, 1)

    async def ask() -> list[int]:
        return [await status(embedder, "long", 0.1), await status(embedder, "short")]

    assert asyncio.run(ask()) == [504, 200]
    assert endless.freed == ["long"] and embedder.counts().prompt_tokens == 1


@pytest.mark.parametrize("ended", ["one by one", "all"])
def test_vectors_ended_early_are_a_503_whether_they_are_computed_or_wait(ended: str) -> None:
    endless = Endless()
    embedder = Embedder(endless, 2)
    first, second = Embedding(["first"]), Embedding(["second"])

    async def ask() -> list[Any]:
        asked = [asyncio.ensure_future(embedder(job, 600.0)) for job in (first, second)]
        await asyncio.to_thread(endless.working.wait)
        if ended == "all":
            embedder.cancel_all()
        else:
            second.cancel()
            first.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [*[getattr(error, "status", error) for error in found], await status(embedder, "short")]

    assert asyncio.run(ask()) == [503, 503, 200]
    assert endless.begun == ["first", "short"], "what waited is never begun"
