"""A stand-in of a served model: it does what a request's body asks of it, over connections that are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from workloads.serving.protocol import ApiError

HELD = "held"
"""In a body: the answer waits until the replica is told to let go."""
WAIT, PIECES, PAUSE = "wait", "pieces", "pause"
"""In a body: seconds before the answer; pieces of a streamed one, and seconds between them."""


@dataclass
class Replica:
    """Answers with its own name. It runs on a thread of its own, and dies as by SIGKILL: every connection is reset."""

    name: str
    refuses: Callable[[], ApiError] | None = None
    """Raised in the words of the serving workload for every request but health checks."""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Headers of each request that is not a health check."""
    closed: int = 0
    """Connections that the other side has closed."""
    port: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._let_go = asyncio.Event()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**23, backlog=4096))
        self.port = self._server.sockets[0].getsockname()[1]

    def let_go(self) -> None:
        """Answer what is held, and what comes."""
        self._loop.call_soon_threadsafe(self._let_go.set)

    def die(self) -> None:
        if self._thread.is_alive():
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
        except asyncio.CancelledError:
            return  # it died
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        raw = await _body(reader, headers)
        if first.split()[1] in ("/healthz", "/v2/health/ready"):
            return await _whole(writer, 200, "")
        self.asked.append(headers)
        if self.refuses is not None:
            error = self.refuses()
            return await _whole(writer, error.status, json.dumps(error.body()), error.headers)
        asked: dict[str, Any] = json.loads(raw) if raw else {}
        if asked.get(HELD):
            await self._let_go.wait()
        await asyncio.sleep(asked.get(WAIT, 0))
        if asked.get("stream"):
            await self._stream(writer, asked)
        else:
            await _whole(writer, 200, self.name)
        return None

    async def _stream(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nserver: uvicorn\r\n\r\n")
        for number in range(asked.get(PIECES, 1)):
            await asyncio.sleep(asked.get(PAUSE, 0) if number else 0)
            writer.write(f"{len(self.name):x}\r\n{self.name}\r\n".encode())
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    whole = b""
    while size := int(await reader.readline(), 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole


async def _whole(
    writer: asyncio.StreamWriter, status: int, body: str, headers: dict[str, str] | None = None
) -> None:
    told = {"content-length": str(len(body)), "server": "uvicorn", **(headers or {})}
    head = "".join(f"{key}: {value}\r\n" for key, value in told.items())
    writer.write(f"HTTP/1.1 {status} told\r\n{head}\r\n{body}".encode())
    await writer.drain()
