"""The benchmark for a GPU, as far as that can be seen without one: it refuses, it measures, it judges."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.bandwidth import bytes_per_second
from bench.claims import Benchmark
from bench.serving_gpu import AIM, STEPS, judge, measured
from tests.repository import empty_repository
from tests.workloads.serving.serving import ROOT
from workloads.serving.architecture import Architecture

H100 = "NVIDIA H100 80GB HBM3"
SMALL = Architecture(97, 32, 64, 2, 4, 2, 8, 2048, 1e-5, 1e4, 1.0, True, ())


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark("serving-gpu", root=empty_repository(tmp_path))


def test_without_a_gpu_it_refuses_with_the_rule_and_the_remedy_and_writes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.serving_gpu"],
        cwd=ROOT,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: bench-serving-gpu: must run on a machine with an NVIDIA GPU")
    assert "start it on one" in done.stderr
    assert not (ROOT / "bench" / "results" / "serving_gpu.json").exists()


def test_it_times_the_steps_of_all_sequences_and_counts_what_one_reads() -> None:
    one, three = measured(SMALL, "bf16", fast=False, batches=(1, 3), device=torch.device("cpu"))
    assert len(one["seconds"]) == len(three["seconds"]) == STEPS and one["fast"] == 0
    matrices = sum(
        2 * rows * columns for rows, columns in (s for s in SMALL.tensor_shapes().values() if len(s) == 2)
    )
    weights = matrices + 4 * 5 * 32  # five norms stay fp32
    position = 2 * 2 * 2 * 8 * 2  # keys and values of two layers, two heads of eight bf16 values
    # a prompt, the first token, nine of the warm-up, half of the steps; three prompts take turns
    assert one["bytes"] == weights + (512 + 9 + STEPS // 2) * position
    assert three["bytes"] > weights + 3 * (512 + 9 + STEPS // 2) * position


def test_what_a_device_cannot_do_is_told_and_not_measured(bench: Benchmark) -> None:
    samples = measured(SMALL, "fp8", fast=False, batches=(1,), device=torch.device("cpu"))
    judge(bench, H100, "fp8", False, samples)
    [row] = bench.rows
    assert row.kind == "figure" and row.figure.startswith("not measured: scheme 'fp8': device 'cpu'")


@pytest.mark.parametrize(("share", "verdict"), [(AIM + 0.001, "MET"), (AIM - 0.001, "MISSED")])
def test_the_aim_is_a_share_of_what_the_memory_allows(bench: Benchmark, share: float, verdict: str) -> None:
    speed = 3.35e12
    assert bytes_per_second(H100) == speed
    seconds = 3e9 / speed / share
    sample = {"batch": 1, "seconds": [seconds, seconds, 9.0], "fast": 2, "bytes": 3e9}
    judge(bench, H100, "bf16", True, [sample, {**sample, "batch": 4}])
    aim, figure = bench.rows
    assert (aim.name, aim.kind, aim.verdict) == ("bf16, compiled, 1 at once", "aim", verdict)
    assert "% of the 1,117 that its memory allows; only 2 of 3 steps were compiled; aim 60%" in aim.figure
    assert figure.kind == "figure" and "of the 4,467" in figure.figure
