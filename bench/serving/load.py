"""Clients of a server: how many ask, when, and what became of each question.

httpx on one event loop, in this process. Every answer is streamed, so that its first token and its end are seen as a
client sees them.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx

PATIENCE_SECONDS = 300.0  # nothing that was asked may take longer
WHOLE, BROKEN, LOST, BUSY, REFUSED, AWAY = "whole", "broken", "lost", "busy", "refused", "away"


@dataclass
class Asked:
    """One question and what became of it; times are of time.perf_counter()."""

    began: float
    first: float = 0.0
    ended: float = 0.0
    tokens: int = 0
    status: int = 0
    end: str = LOST
    """WHOLE: all of it came. BROKEN: it began and did not end. LOST: asked, and nothing came back. BUSY: 429. REFUSED:
    another status. AWAY: nobody listened."""


Plan = Callable[[httpx.AsyncClient], Awaitable[list[Asked]]]


async def ask(
    client: httpx.AsyncClient, model: str, prompt: list[int], tokens: int, stream: bool = True
) -> Asked:
    """Ask for a greedy answer of exactly `tokens` tokens."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = Asked(time.perf_counter())
    try:
        async with client.stream("POST", "/v1/completions", json=body) as response:
            asked.status = response.status_code
            asked.end = {200: BROKEN, 429: BUSY}.get(response.status_code, REFUSED)
            async for line in response.aiter_lines():
                asked.first = asked.first or time.perf_counter()
                if '"usage": {' in line or '"usage":{' in line:
                    asked.tokens = json.loads(line.removeprefix("data: "))["usage"]["completion_tokens"]
                    asked.end = BROKEN if stream else WHOLE
                elif line == "data: [DONE]":
                    asked.end = WHOLE
    except httpx.ConnectError:
        asked.end = AWAY
    except httpx.TransportError:
        asked.end = BROKEN if asked.status == 200 else LOST
    asked.ended = time.perf_counter()
    return asked


def run(url: str, plan: Plan) -> list[Asked]:
    """All that `plan` asks of the server at `url`."""

    async def work() -> list[Asked]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits) as client:
            return await plan(client)

    return asyncio.run(work())


def at_once(model: str, clients: int, rounds: int, tokens: int, prompts: Iterator[list[int]]) -> Plan:
    """Each of `clients` asks `rounds` times, one after the other."""

    async def one(client: httpx.AsyncClient) -> list[Asked]:
        return [await ask(client, model, next(prompts), tokens) for _ in range(rounds)]

    async def plan(client: httpx.AsyncClient) -> list[Asked]:
        return [
            asked for each in await asyncio.gather(*(one(client) for _ in range(clients))) for asked in each
        ]

    return plan


def arriving(model: str, rate: float, seconds: float, tokens: int, prompts: Iterator[list[int]]) -> Plan:
    """Questions arrive evenly, `rate` a second, for `seconds`, however the server does: nobody waits for an answer."""

    async def plan(client: httpx.AsyncClient) -> list[Asked]:
        began, asking = time.perf_counter(), []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            asking.append(asyncio.create_task(ask(client, model, next(prompts), tokens)))
        return await asyncio.gather(*asking)

    return plan
