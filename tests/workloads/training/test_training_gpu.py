"""The benchmark for a GPU, as far as that can be seen without one: it refuses, it measures, it judges."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.claims import Benchmark
from bench.training_gpu import SIZES, configs, judge, measured
from tests.repository import empty_repository
from tests.workloads.training.runs import ROOT
from workloads.training.config import TrainConfig
from workloads.training.peaks import flops_per_token
from workloads.training.presets import PARAMETERS

H100 = "NVIDIA H100 80GB HBM3"
SMALL, _ = SIZES
AIMED, *OTHERS = configs(SMALL)


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark("training-gpu", root=empty_repository(tmp_path))


def test_without_a_gpu_it_refuses_with_the_rule_and_the_remedy_and_writes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.training_gpu"],
        cwd=ROOT,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: bench-training-gpu: must run on a machine with an NVIDIA GPU")
    assert "start it on one" in done.stderr
    assert not (ROOT / "bench" / "results" / "training_gpu.json").exists()


def test_it_takes_steps_of_the_training_and_tells_where_their_time_went() -> None:
    sample = measured(TrainConfig(), torch.device("cpu"))
    assert len(sample["seconds"]) == 10 and min(sample["seconds"]) > 0
    names, shares = zip(*sample["operators"], strict=True)
    assert "aten::mm" in names
    assert list(shares) == sorted(shares, reverse=True) and shares[-1] > 0 and sum(shares) <= 1.001


def test_what_a_device_cannot_do_is_told_and_not_measured(bench: Benchmark) -> None:
    fp8 = next(config for config in OTHERS if config.precision == "fp8")
    sample = measured(fp8, torch.device("cpu"))
    judge(bench, H100, SMALL, fp8, sample)
    [row] = bench.rows
    assert row.kind == "figure" and row.figure.startswith(
        "not measured: precision='fp8': must be on an NVIDIA GPU"
    )


@pytest.mark.parametrize(("mfu", "verdict"), [(0.4501, "MET"), (0.4499, "MISSED")])
def test_the_aim_is_a_share_of_the_peak_and_the_profile_stands_below_a_missed_one(
    bench: Benchmark, mfu: float, verdict: str
) -> None:
    flops = flops_per_token(AIMED.model, PARAMETERS["124m"]) * AIMED.batch * AIMED.model.context
    seconds = flops / (mfu * 989e12)
    sample = {"seconds": [seconds, seconds, 9.0], "gib": 40.0, "operators": [["aten::mm", 0.6]]}
    for config in configs(SMALL):
        judge(bench, H100, SMALL, config, sample)
    aims = [row for row in bench.rows if row.kind == "aim"]
    assert [(row.name, row.verdict) for row in aims] == [("124m bf16, compiled", verdict)]
    assert aims[0].figure.startswith("45.0% MFU, ") and aims[0].figure.endswith(
        "40.0 GiB; aim 45%, best seen elsewhere 40.7%"
    )
    below = [row.figure for row in bench.rows if row.name == "124m bf16, compiled: aten::mm"]
    assert below == (["60.0% of the device's time"] if verdict == "MISSED" else [])
    told = [row.name for row in bench.rows if not row.name.endswith("aten::mm")]
    assert told[1:] == ["124m bf16, not compiled", "124m fp8, compiled", "124m fp8, not compiled"]
    assert bench.rows[-1].figure.startswith("22.5% MFU"), "of the peak in fp8"


def test_an_aim_that_could_not_be_measured_is_missed(bench: Benchmark) -> None:
    judge(bench, H100, SMALL, AIMED, {"why": "CUDA out of memory."})
    assert [(row.kind, row.verdict) for row in bench.rows] == [("aim", "MISSED")]
