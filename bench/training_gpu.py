"""How much of a GPU's peak a training step uses: `make bench-training-gpu`, on a machine with an NVIDIA GPU.

Presets 124m and 1b5 on one GPU, in bf16 and fp8, compiled and not; where an aim is missed, a profile says what took the
time. The tokens are random: they cost what text costs. Writes bench/results/training_gpu.json.
Not run yet: there was no GPU. So the aims below are aims, and that the batches fit 80 GB is a guess.
"""

import gc
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile

from bench.claims import Benchmark
from bench.gpu import missing
from workloads.training.config import TrainConfig
from workloads.training.data import Corpus
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel
from workloads.training.optimizer import build_optimizer
from workloads.training.parallel import compile_model
from workloads.training.peaks import flops_per_token, peak_flops
from workloads.training.precision import check_fp8, to_fp8
from workloads.training.presets import PARAMETERS, PRESETS
from workloads.training.sampler import Sampler
from workloads.training.step import Run, take_step
from workloads.training.tokenizer import BYTES, load_tokenizer
from workloads.training.tokens import END_OF_TEXT_NAME
from workloads.training.workers import Workers


@dataclass(frozen=True)
class Size:
    """A preset, how a GPU takes it, and what share of the bf16 peak is worked towards, compiled."""

    preset: str
    batch: int  # sequences a step
    accumulate: int  # parts of it; as few as should fit 80 GB
    aim: float
    elsewhere: (
        float  # what llm.c's own reports of GPT-2 of this size on 8 H100 come to: the best that was seen
    )


SIZES = (Size("124m", 64, 4, 0.45, 0.407), Size("1b5", 32, 8, 0.50, 0.487))
WARM_UP, STEPS, PROFILED = 3, 10, 2  # the first steps compile, and find out the fastest kernels
TOP = 8  # operators of a profile that are told
NAME = 80  # characters of each: a kernel's whole name can fill a screen
Sample = dict[str, Any]


def main() -> int:
    if why := refusal():
        print(f"error: bench-training-gpu: {why}", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0)
    gpu = torch.cuda.get_device_name(device)
    sizes = "; ".join(f"{size.preset} batch {size.batch} in {size.accumulate} parts" for size in SIZES)
    bench = Benchmark("training-gpu", packages=["torch", "torchao"], facts={"GPU": gpu, "sizes": sizes})
    for size in SIZES:
        for config in configs(size):
            sample = bench.part(named(config), lambda config=config: measured(config, device))
            judge(bench, gpu, size, config, sample)
    return bench.finish()


def refusal() -> str:
    """Why nothing can be measured here, and what to do; empty where it can."""
    if why := missing("make bench-training"):
        return why
    peak, unknown = peak_flops(torch.cuda.get_device_name(0), "bf16")
    return (
        "" if peak else f"must know the GPU's peak to count a share of it: {unknown}; add it with its source"
    )


def configs(size: Size) -> list[TrainConfig]:
    """All ways to train this size that are measured; the aim is for the first."""
    return [
        TrainConfig(
            preset=size.preset,
            model=PRESETS[size.preset],
            batch=size.batch,
            accumulate=size.accumulate,
            precision=precision,
            compile=compiled,
        )
        for precision in ("bf16", "fp8")
        for compiled in ("on", "off")
    ]


def named(config: TrainConfig) -> str:
    return f"{config.preset} {config.precision}, {'compiled' if config.compile == 'on' else 'not compiled'}"


def measured(config: TrainConfig, device: torch.device) -> Sample:
    """Seconds of each step, GiB at the peak and a profile; or why it could not be: no fp8 here, no room."""
    forget(device)
    try:
        check_fp8(config, device)
        run = prepared(config, device)
        for _ in range(WARM_UP):
            step(run)
        seconds = [step(run) for _ in range(STEPS)]
        return {"seconds": seconds, "gib": peak_gib(device), "operators": profiled(run)}
    except ConfigError as error:
        return {"why": "; ".join(error.problems)}
    except torch.OutOfMemoryError as error:
        return {"why": str(error).splitlines()[0]}


def forget(device: torch.device) -> None:
    """Nothing that was measured before takes room or counts."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def prepared(config: TrainConfig, device: torch.device) -> Run:
    """A run as train.py makes it, on tokens drawn by chance."""
    torch.manual_seed(config.seed)
    tokens = np.random.default_rng(config.seed).integers(0, config.model.vocabulary, 1 << 20, dtype=np.uint16)
    corpus = Corpus(tokens, tokens, (1, 1), len(tokens), "", load_tokenizer(BYTES, END_OF_TEXT_NAME))
    model = LanguageModel(config.model)
    if config.precision == "fp8":
        to_fp8(model)
    if config.compile == "on":
        compile_model(model, config)
    model.to(device)
    sampler = Sampler(len(tokens), config.model.context, config.seed)
    workers = Workers(rank=0, local=0, world=1)
    return Run(config, workers, device, corpus, sampler, model, build_optimizer(model, config), model)


def step(run: Run) -> float:
    """Take one; the seconds until the device has finished it."""
    began = time.perf_counter()
    run.step += 1
    loss, _ = take_step(run)
    loss.item()  # waits for the backward pass
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)  # and for the update
    return time.perf_counter() - began


def profiled(run: Run) -> list[tuple[str, float]]:
    """The operators and kernels that the device's time went to, and each one's share, the largest first."""
    on_gpu = run.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(PROFILED):
            step(run)
    field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    # On a GPU the kernels alone: an operator that starts one tells of the same time again, and so does a label.
    side = DeviceType.CUDA if on_gpu else DeviceType.CPU
    events = [
        each for each in profiler.key_averages() if each.device_type == side and not each.is_user_annotation
    ]
    times = {event.key: getattr(event, field) for event in events}
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda each: -each[1])[:TOP]
    return [(name[:NAME], took / total) for name, took in largest if took > 0]


def peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def judge(bench: Benchmark, gpu: str, size: Size, config: TrainConfig, sample: Sample) -> None:
    """The row of one way to train, and below it where the time went if it missed its aim."""
    name, figure, share = named(config), f"not measured: {sample.get('why')}", None
    if "seconds" in sample:
        figure, share = rate(gpu, config, sample)
    if config != configs(size)[0]:
        bench.figure(name, figure)
        return
    met = share is not None and share >= size.aim
    bench.aim(name, met, f"{figure}; aim {size.aim:.0%}, best seen elsewhere {size.elsewhere:.1%}")
    if not met:
        for operator, part in sample.get("operators", []):
            bench.figure(f"{name}: {operator}", f"{part:.1%} of the device's time")


def rate(gpu: str, config: TrainConfig, sample: Sample) -> tuple[str, float | None]:
    """What the steps say, and the share of the peak of the precision they were taken in, where that is known."""
    tokens = config.batch * config.model.context / statistics.median(sample["seconds"])
    peak, unknown = peak_flops(gpu, config.precision)
    mfu = flops_per_token(config.model, PARAMETERS[config.preset]) * tokens / peak if peak else None
    share = f"{mfu:.1%} MFU" if mfu is not None else f"no MFU, {unknown}"
    return f"{share}, {tokens:,.0f} tokens/s, {sample['gib']:.1f} GiB", mfu


if __name__ == "__main__":
    sys.exit(main())
