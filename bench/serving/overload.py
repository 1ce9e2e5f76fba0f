"""A server under more than it can do: full queues, ten times the load, and SIGTERM in the middle.

The server computes on one thread here: the other core is the clients', so that they take nothing from it.
"""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.claims import Benchmark
from bench.serving.inputs import Inputs, endless
from bench.serving.load import (
    BROKEN,
    BUSY,
    LOST,
    REFUSED,
    WHOLE,
    Asked,
    Plan,
    arriving,
    ask,
    at_once,
    run,
)
from bench.serving.models import Artifact
from bench.serving.ours import CPU, compiled_server
from bench.serving.table import percentile
from tests.workloads.serving.serving import NAME, until

THREADS = 1
SLOTS = QUEUE = 8
FLAGS = [CPU, f"--threads={THREADS}", f"--slots={SLOTS}", f"--queue={QUEUE}"]
LONG = 1000  # tokens of an answer that holds a slot: seconds, and eight of them fit into the cache
TIMES = 10
SECONDS = 30.0  # of each load
DRAINS, CLIENTS = 5, 24  # more clients than slots and queue hold
PAUSE_SECONDS = 0.05  # before asking again after a 429
SEED = 2026


def full(artifact: Artifact, compiled: Path) -> dict[str, Any]:
    """Fill slots and queue with answers that take long, then ask once more."""
    with compiled_server(artifact, compiled, *FLAGS) as server:
        url = str(server.client.base_url)
        prompts = ([number] * 8 for number in range(SLOTS + QUEUE))
        holders = threading.Thread(
            target=lambda: run(url, at_once(NAME, SLOTS + QUEUE, 1, LONG, prompts)), daemon=True
        )
        holders.start()
        until(lambda: server.metric("skerry_requests_waiting") == QUEUE)
        running = server.metric("skerry_requests_running")
        refused = server.complete(max_tokens=1)
        return {
            "running": running,
            "status": refused.status_code,
            "retry_after": refused.headers.get("retry-after"),
        }


def loads(artifact: Artifact, compiled: Path, inputs: Inputs, seconds: float = SECONDS) -> dict[str, Any]:
    """What arrives at once and at TIMES the rate that the server can just do, and what of it is answered."""
    with compiled_server(artifact, compiled, *FLAGS) as server:
        url, prompts = str(server.client.base_url), endless(inputs.prompts)
        began = time.perf_counter()
        asked = run(url, at_once(NAME, SLOTS, 4, inputs.tokens, prompts))
        rate = len(asked) / (time.perf_counter() - began)
        found = {"rate": rate, "seconds": seconds}
        for times in (1, TIMES):
            found[str(times)] = told(run(url, arriving(NAME, times * rate, seconds, inputs.tokens, prompts)))
        return found


def told(asked: list[Asked]) -> dict[str, Any]:
    """Answers by their end, and the tokens of whole ones per second from the first question to the last answer."""
    whole = [one for one in asked if one.end == WHOLE]
    spent = max(one.ended for one in asked) - min(one.began for one in asked)
    return {
        "ends": Counter(one.end for one in asked),
        "goodput": sum(one.tokens for one in whole) / spent,
        "first": [one.first - one.began for one in whole],
    }


def drained(artifact: Artifact, compiled: Path, inputs: Inputs, number: int) -> dict[str, Any]:
    """SIGTERM at a drawn moment, while clients ask without a pause; half of them stream."""
    random_ = random.Random(SEED + number)
    with compiled_server(artifact, compiled, *FLAGS) as server:
        url = str(server.client.base_url)
        after = 2 + 3 * random_.random()
        killer = threading.Timer(after, server.process.send_signal, (signal.SIGTERM,))
        killer.start()
        asked = run(url, until_turned_away(endless(inputs.prompts), inputs.tokens))
        code = server.exit_code()
    return {"code": code, "after": after, "ends": Counter(one.end for one in asked)}


def until_turned_away(prompts: Iterator[list[int]], tokens: int) -> Plan:
    """Clients that ask on and on until they hear that the server takes no more: then a balancer would go elsewhere."""

    async def one(client: httpx.AsyncClient, stream: bool) -> list[Asked]:
        made: list[Asked] = []
        while not made or made[-1].end in (WHOLE, BUSY):
            made.append(await ask(client, NAME, next(prompts), tokens, stream))
            if made[-1].end == BUSY:
                await asyncio.sleep(PAUSE_SECONDS)
        return made

    async def plan(client: httpx.AsyncClient) -> list[Asked]:
        clients = (one(client, stream=number % 2 == 0) for number in range(CLIENTS))
        return [asked for each in await asyncio.gather(*clients) for asked in each]

    return plan


def rows(
    bench: Benchmark, filled: dict[str, Any], loaded: dict[str, Any], drains: list[dict[str, Any]]
) -> None:
    bench.claim(
        f"{SLOTS} slots and a queue of {QUEUE} are full: the next request",
        (filled["running"], filled["status"], filled["retry_after"]) == (SLOTS, 429, "1"),
        f"status {filled['status']}, Retry-After {filled['retry_after']}",
    )
    for times in ("1", str(TIMES)):
        found = loaded[times]
        ends = ", ".join(f"{count} {end}" for end, count in sorted(found["ends"].items()))
        bench.figure(
            f"{times}x the load that the server can just do, {float(times) * loaded['rate']:.1f} requests/s",
            f"{ends}; first token after {percentile(found['first'], 50) * 1e3:,.0f} ms (p50) and "
            f"{percentile(found['first'], 99) * 1e3:,.0f} ms (p99)",
        )
    one, many = (loaded[times]["goodput"] for times in ("1", str(TIMES)))
    bench.claim(
        f"goodput at {TIMES}x the load is at least 0.9x that at 1x",
        many >= 0.9 * one,
        f"{many:.0f} against {one:.0f} tokens/s of whole answers, {many / one:.2f}x",
    )
    ends = sum((Counter(each["ends"]) for each in drains), Counter())
    bench.claim(
        f"{len(drains)} times SIGTERM under {CLIENTS} clients: no answer is lost or cut",
        not ends[BROKEN] and not ends[LOST] and ends[WHOLE] > 0 and all(each["code"] == 0 for each in drains),
        f"{ends[WHOLE]} whole, {ends[BROKEN]} cut, {ends[LOST]} lost; {ends[BUSY] + ends[REFUSED]} were turned away",
    )
