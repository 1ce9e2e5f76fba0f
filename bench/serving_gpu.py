"""How near to its memory's limit a GPU decodes: `make bench-serving-gpu`, on a machine with an NVIDIA GPU.

Engine `torch`, every scheme, with and without compiled layers, 1 to 64 sequences at once. A step reads all weights and
the sequences' keys and values once, so the memory's speed says how fast it could be at best. The weights are random:
they cost what trained ones cost. Writes bench/results/serving_gpu.json.
Not run yet: there was no GPU. So the aim below is an aim, and that a GPU computes the right thing is not shown either.
"""

import gc
import mmap
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models

from bench.bandwidth import bytes_per_second
from bench.claims import Benchmark
from bench.gpu import missing
from workloads.serving.architecture import Architecture
from workloads.serving.artifact import Artifact
from workloads.serving.cache import BLOCK_TOKENS
from workloads.serving.compile import FastLayers, compiled
from workloads.serving.model import Decoder
from workloads.serving.quantize import quantize, tensor_bytes
from workloads.serving.scheduler import SHARED_PREFILL_TOKENS, Scheduler
from workloads.serving.schemes import UnsupportedScheme, check_device, find_scheme
from workloads.serving.sequence import Sequence
from workloads.serving.terms import Options

SHAPE = Architecture(
    vocab_size=50_304,
    hidden_size=2048,
    intermediate_size=5504,
    layers=28,
    heads=16,
    kv_heads=16,
    head_dim=128,
    context_length=2048,
    rms_norm_eps=1e-5,
    rope_theta=10_000.0,
    rope_factor=1.0,
    tied_output=True,
    eos_token_ids=(),
)  # 1.5 billion weights: the training's largest preset
SCHEMES = ("bf16", "int8-weight-only", "int8-dynamic", "int4-weight-only", "fp8")
BATCHES = (1, 4, 16, 64)
PROMPT = 512  # tokens of each sequence before it decodes
WARM_UP, STEPS = 10, 50
AIMED, AIM = (
    ("bf16", True, 1),
    0.6,
)  # of the memory's limit: one sequence, which nothing but the memory holds up
Sample = dict[str, Any]


def main() -> int:
    if why := refusal():
        print(f"error: bench-serving-gpu: {why}", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0)
    gpu = torch.cuda.get_device_name(device)
    facts = {"GPU": gpu, "prompt tokens": PROMPT, "weights": "1.5 billion, random"}
    bench = Benchmark("serving-gpu", packages=["torch", "torchao"], facts=facts)
    for scheme in SCHEMES:
        for fast in (True, False):
            name = f"{scheme}, {'compiled' if fast else 'plain'}"
            samples = bench.part(
                name, lambda scheme=scheme, fast=fast: measured(SHAPE, scheme, fast, BATCHES, device)
            )
            judge(bench, gpu, scheme, fast, samples)
    return bench.finish()


def refusal() -> str:
    """Why nothing can be measured here, and what to do; empty where it can."""
    if why := missing("make bench-serving"):
        return why
    name = torch.cuda.get_device_name(0)
    if bytes_per_second(name) is None:
        return f"must know how fast the memory of {name!r} is; add it to bench/bandwidth.py with its source"
    return ""


def measured(
    shape: Architecture, scheme: str, fast: bool, batches: tuple[int, ...], device: torch.device
) -> list[Sample]:
    """For each batch the seconds of its steps and the bytes that one reads; or why it could not be."""
    try:
        check_device(find_scheme(scheme), device)
        stored = random_weights(shape, scheme)
        decoder = Decoder(shape, {name: tensor.to(device) for name, tensor in stored.items()})
        if fast:
            with tempfile.TemporaryDirectory() as folder:
                artifact = Artifact(shape, scheme, mmap.mmap(-1, 1), "", {}, facts={}, canary=[])
                decoder.fast = FastLayers(compiled(artifact, decoder, 1, Path(folder)), decoder)
        weights = tensor_bytes(stored)
        return [decoded(decoder, batch, weights) for batch in batches]
    except UnsupportedScheme as error:
        return [{"why": str(error)}]
    except RuntimeError as error:  # no room, or a kernel that refuses
        return [{"why": str(error).splitlines()[0]}]
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def random_weights(shape: Architecture, scheme: str) -> dict[str, torch.Tensor]:
    """Stored tensors under `scheme`, as publishing makes them; matrix by matrix, so that fp32 is never all there."""
    torch.manual_seed(0)
    stored: dict[str, torch.Tensor] = {}
    for name, size in shape.tensor_shapes().items():
        stored |= quantize([(name, torch.randn(size) * 0.02)], find_scheme(scheme))
    return stored


def decoded(decoder: Decoder, batch: int, weights: int) -> Sample:
    """Steps of the engine's own scheduler over `batch` sequences of different prompts."""
    reading = batch * PROMPT // SHARED_PREFILL_TOKENS + 1  # steps in which the first ones decode already
    answer, vocabulary = reading + WARM_UP + STEPS, decoder.architecture.vocab_size
    tokenizer = Tokenizer(models.WordLevel({str(index): index for index in range(vocabulary)}, "0"))
    scheduler = Scheduler(decoder, tokenizer, batch * (PROMPT + answer + BLOCK_TOKENS))
    sequences: list[Sequence] = []
    for index in range(batch):
        prompt = [(index + 1) * (place + 1) % vocabulary for place in range(PROMPT)]
        sequence = scheduler.admit(prompt, Options(answer, temperature=0))
        assert sequence is not None, "there is room for all"
        sequences.append(sequence)
    while not all(sequence.decoding for sequence in sequences):
        scheduler.step()
    for _ in range(WARM_UP - 1):
        scheduler.step()
    seconds, fast = [], scheduler.counts.fast_steps
    for _ in range(STEPS):
        began = time.perf_counter()
        scheduler.step()  # ends with the next tokens on the CPU: the device has finished
        seconds.append(time.perf_counter() - began)
    cached = sum(sequence.cached for sequence in sequences) - batch * STEPS // 2  # in the middle of them
    return {
        "batch": batch,
        "seconds": seconds,
        "fast": scheduler.counts.fast_steps - fast,
        "bytes": weights + cached * decoder.position_bytes,
    }


def judge(bench: Benchmark, gpu: str, scheme: str, fast: bool, samples: list[Sample]) -> None:
    """A row for each batch: tokens a second beside what the memory allows."""
    speed = bytes_per_second(gpu)
    for sample in samples:
        way = "compiled" if fast else "plain"
        if "why" in sample or speed is None:
            bench.figure(f"{scheme}, {way}", f"not measured: {sample.get('why')}")
            continue
        batch, seconds = sample["batch"], statistics.median(sample["seconds"])
        share = sample["bytes"] / speed / seconds
        limit = batch / (sample["bytes"] / speed)
        figure = f"{batch / seconds:,.0f} tokens/s, {share:.0%} of the {limit:,.0f} that its memory allows"
        if fast and sample["fast"] != len(sample["seconds"]):
            figure += f"; only {sample['fast']} of {len(sample['seconds'])} steps were compiled"
        name = f"{scheme}, {way}, {batch} at once"
        if (scheme, fast, batch) == AIMED:
            bench.aim(name, share >= AIM, f"{figure}; aim {AIM:.0%}")
        else:
            bench.figure(name, figure)


if __name__ == "__main__":
    sys.exit(main())
