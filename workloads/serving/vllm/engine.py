"""The front's side of vLLM: which requests are with it, and what it says about itself."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import aiohttp

from workloads.serving.engine import QueueFull
from workloads.serving.protocol import ApiError
from workloads.serving.vllm.figures import Figures

BASE = "http://vllm"  # the name goes nowhere: all connections lead to the socket
CONNECT_SECONDS = 10.0  # to a process of this machine that answered before


T = TypeVar("T")


class Passage:
    """One request on its way to vLLM and back, as app.py knows jobs: it can be finished, or be ended early."""

    def __init__(self, vllm: "Vllm", seconds: float) -> None:
        self.finished = False
        self._vllm = vllm
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._deadline = self._loop.time() + seconds
        self._ended = False
        self._waits: asyncio.Timeout | None = None
        self._response: aiohttp.ClientResponse | None = None

    async def begin(self, path: str, content: bytes) -> aiohttp.ClientResponse:
        """Send a request; returns when vLLM's answer begins. Raises ApiError, as the two below:
        504 out of time, 503 where this was ended early or vLLM is gone."""
        headers = {"content-type": "application/json"}
        sent = self._vllm.session.post(BASE + path, data=content, headers=headers)
        self._response = await self._wait(sent)
        return self._response

    async def read(self) -> bytes:
        """All of the answer."""
        assert self._response is not None
        return await self._wait(self._response.read())

    async def read_some(self) -> bytes:
        """What has come of the answer, nothing at its end."""
        assert self._response is not None
        return await self._wait(self._response.content.readany())

    async def _wait(self, coming: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self._deadline) as self._waits:
                return await coming
        except TimeoutError:
            if self._ended:
                raise _early() from None
            message = f"this answer took longer than {self._seconds:g} seconds; lower max_tokens"
            raise ApiError(504, message, code="timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            if self._ended:
                raise _early() from None
            self.finish()
            message = "the engine behind this server ended; try another replica"
            raise ApiError(503, message, code="engine_gone") from error

    def finish(self) -> None:
        """All of the answer was read, or there will be none."""
        self.finished = True
        self._vllm.passages.discard(self)

    def cancel(self) -> None:
        """Ask for an early end, from any thread; harmless after the end."""
        self._ended = True
        with contextlib.suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._deadline = 0.0
        if self._response is not None:
            self._response.close()  # vLLM gives up what nobody reads
        with contextlib.suppress(RuntimeError):  # nobody waits at the moment
            if self._waits is not None:
                self._waits.reschedule(0.0)
        self._vllm.passages.discard(self)


def _early() -> ApiError:
    return ApiError(503, "this answer was ended early; try again", code="cancelled")


class Vllm:
    """vLLM behind a Unix socket. At most `limit` requests are with it at a time, running and waiting together."""

    def __init__(self, socket: Path, limit: int) -> None:
        self.socket = socket
        self.passages: set[Passage] = set()
        self.figures = Figures()
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Made on the event loop that first asks. A connection per request: vLLM may close one that is kept."""
        if self._session is None:
            self._session = session(self.socket)
        return self._session

    def enter(self, seconds: float) -> Passage:
        """A place for one request, for at most `seconds`. Raises QueueFull."""
        if len(self.passages) >= self._limit:
            raise QueueFull
        passage = Passage(self, seconds)
        self.passages.add(passage)
        return passage

    def cancel_all(self) -> None:
        """End everything early, for a shutdown that ran out of time."""
        for passage in tuple(self.passages):
            passage.cancel()

    async def metrics(self) -> str:
        """What only vLLM tells, after `figures` took in all that it told; nothing while it tells none."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS), self.session.get(f"{BASE}/metrics") as response:
                response.raise_for_status()
                return self.figures.hear(await response.text(errors="replace"))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return ""


def session(socket: Path) -> aiohttp.ClientSession:
    """A client of the socket. It passes bytes on as they come."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(path=str(socket), limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
    )
