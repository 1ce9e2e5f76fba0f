"""Rows of the comparison: speed, first token, memory and quality of each contender, and what is claimed of them."""

import math
from typing import Any

from bench.claims import Benchmark

Sample = dict[str, Any]  # loads, memory, bits
OURS = "ours, {}, over HTTP"
CHOSEN = "int8-dynamic"  # what the how-to names for CPUs: most is claimed of it
INT8 = ("int8-weight-only", "int8-dynamic")
FP32, BF16, LLAMACPP = "transformers, fp32", "transformers, bf16", "llama.cpp, the wheel's file"


def rows(bench: Benchmark, samples: dict[str, Sample], scored_bytes: int) -> None:
    """A line per contender and number of clients, one for its memory and quality, and the claims and aims."""
    for name, sample in samples.items():
        for clients in sorted({load["clients"] for load in sample["loads"]}):
            first = first_tokens(sample, clients)
            bench.figure(
                f"{name}: {clients} {'clients' if clients > 1 else 'stream'}",
                f"{speed(sample, clients):,.0f} tokens/s; first token after {percentile(first, 50) * 1e3:,.0f} ms "
                f"(p50) and {percentile(first, 99) * 1e3:,.0f} ms (p99 of {len(first)})",
            )
        memory, quality = sample["memory"], sample["bits"] / scored_bytes
        bench.figure(
            f"{name}: memory and quality",
            f"{memory['pss'] / 2**20:,.0f} MiB PSS, {memory['rss'] / 2**20:,.0f} MiB RSS; {quality:.4f} bits per byte",
        )
    compare(bench, samples)


def compare(bench: Benchmark, samples: dict[str, Sample]) -> None:
    ours = samples[OURS.format(CHOSEN)]
    single, eager = speed(ours, 1), speed(samples[FP32], 1)
    name = f"one stream of {CHOSEN}"
    bench.claim(f"{name} is at least 2x {FP32}", single >= 2 * eager, f"{single / eager:.2f}x")
    half = speed(samples[BF16], 1)
    bench.claim(f"{name} is faster than {BF16}", single > half, f"{single / half:.2f}x")
    eight = speed(ours, 8)
    bench.claim(
        f"eight clients of {CHOSEN} have at least 2x one stream",
        eight >= 2 * single,
        f"{eight / single:.2f}x",
    )
    bench.aim(f"{name} is 3x {FP32}", single >= 3 * eager, f"{single / eager:.3f}x, aim 3x")
    other = speed(samples[LLAMACPP], 1)
    bench.aim(f"{name} is as fast as {LLAMACPP}", single >= other, f"{single / other:.3f}x, aim 1.0x")


def missed(bench: Benchmark) -> bool:
    return any(row.verdict == "MISSED" for row in bench.rows)


def profile(bench: Benchmark, samples: dict[str, Sample], found: Sample) -> None:
    """Where the time of a token of one stream goes; beside an aim that was missed."""
    token, step = 1 / speed(samples[OURS.format(CHOSEN)], 1), found["step"]
    bench.figure(
        f"where a token's {token * 1e3:.1f} ms of one stream go",
        f"{step * 1e3:.1f} ms the model's pass, the rest HTTP, the client and reading the prompt; of the pass "
        + ", ".join(f"{name} {share:.0%}" for name, share in found["shares"]),
    )


def memory_falls(bench: Benchmark, samples: dict[str, Sample], stored: dict[str, int], export: int) -> None:
    """`stored` bytes of each artifact against those of the fp32 `export`, and what the servers hold."""
    whole = samples[OURS.format("none")]["memory"]["pss"]
    for scheme, limit in (("int8-weight-only", 0.4), ("int8-dynamic", 0.4), ("int4-weight-only", 0.3)):
        share = stored[scheme] / export
        bench.claim(
            f"{scheme}: the artifact against the fp32 export",
            share <= limit,
            f"{share:.3f}x, {stored[scheme]:,} of {export:,} bytes, at most {limit}x",
        )
        fall, saved = whole - samples[OURS.format(scheme)]["memory"]["pss"], stored["none"] - stored[scheme]
        bench.claim(
            f"{scheme}: a server's memory falls with it",
            fall >= saved / 2,
            f"{fall / 2**20:,.0f} MiB PSS less than fp32, {saved / 2**20:,.0f} MiB smaller; at least half of that",
        )


def quality(bench: Benchmark, model: str, bits: dict[str, float]) -> None:
    """`bits` that each scheme needs for the same text."""
    for scheme, needed in bits.items():
        rise = needed / bits["none"] - 1
        figure = f"{rise:+.2%} bits per byte"
        if scheme in INT8:
            bench.claim(f"{model}: {scheme}", rise < 0.01, f"{figure}, less than 1 % allowed")
        elif scheme != "none":
            bench.figure(f"{model}: {scheme}", figure)


def speed(sample: Sample, clients: int) -> float:
    """Tokens per second of all clients together."""
    loads = [load for load in sample["loads"] if load["clients"] == clients]
    return sum(load["tokens"] for load in loads) / sum(load["seconds"] for load in loads)


def first_tokens(sample: Sample, clients: int) -> list[float]:
    return [seconds for load in sample["loads"] if load["clients"] == clients for seconds in load["first"]]


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
