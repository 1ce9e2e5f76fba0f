"""A model that is cut over two workers (FSDP2) against one that each holds whole (DDP)."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.workloads.training.runs import TINY, TRAIN, launch, lines, write_corpus
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.train import main

# 129 windows are scored: one worker has one more than the other, and all must call a sharded model.
GIVEN = [*TINY, "--accumulate=2", "--evaluation-bytes=4100", "--run-id=one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    write_corpus(folder / "text", files=200)
    return folder


def by_two(folder: Path, name: str, *more: str, code: int = 0) -> list[dict]:
    """The lines of a run by two workers, which publishes at `name`."""
    given = [*GIVEN, "--data", str(folder / "text"), "--output", str(folder / name), *more]
    how = launch(2, folder / f"{name}.temporary", [*TRAIN, *given])
    done = subprocess.run(**how, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return lines(done.stderr) + lines(done.stdout)


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, list[dict]]:
    """A whole run by DDP, and one by FSDP that was stopped after a step and went on."""
    kept = ["--parallel=fsdp", "--checkpoints", str(folder / "kept")]
    stopped = by_two(folder, "stopped", *kept, "--stop-at=1", code=75)
    shutil.copytree(folder / "kept", folder / "kept for one")
    return {"ddp": by_two(folder, "ddp"), "stopped": stopped, "fsdp": by_two(folder, "fsdp", *kept)}


def numbers(told: list[dict]) -> list[float]:
    [end] = [line for line in told if "output" in line]
    steps = [value for line in told if "loss" in line for value in (line["loss"], line["grad_norm"])]
    return [*steps, end["bits_per_byte"], end["heldout_bytes"], end["parameters"]]


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-5) for name in ours
    )


def test_sharded_workers_stopped_and_gone_on_learn_and_publish_what_whole_ones_do(
    runs: dict[str, list[dict]], folder: Path
) -> None:
    assert [line["step"] for line in runs["stopped"]] == [1]
    assert len(numbers(runs["ddp"])) == 6 * 2 + 3
    assert numbers(runs["stopped"] + runs["fsdp"]) == pytest.approx(numbers(runs["ddp"]), rel=1e-5)
    assert same_weights(folder / "fsdp", folder / "ddp")


def test_one_worker_goes_on_where_two_sharded_ones_stopped(
    runs: dict[str, list[dict]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*GIVEN, "--data", str(folder / "text"), "--output", str(folder / "alone")]
    assert main([*given, "--checkpoints", str(folder / "kept for one"), "--parallel=fsdp"]) == 0
    captured = capsys.readouterr()
    assert '"loaded", "at_step": 1,' in captured.err
    told = runs["stopped"] + lines(captured.err) + lines(captured.out)
    assert numbers(told) == pytest.approx(numbers(runs["ddp"]), rel=1e-5)
    assert same_weights(folder / "alone", folder / "ddp")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What sharded.py tells."""
    how = launch(
        2, tmp_path_factory.mktemp("sharded") / "temporary", ["-m", "tests.workloads.training.sharded"]
    )
    done = subprocess.run(**how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_sharded_model_has_the_gradients_and_the_clipping_of_a_whole_one(
    seen: dict, precision: str
) -> None:
    told = seen[precision]
    assert told["loss"] < 1e-6 and told["grad"] < 1e-5
    whole, sharded, whole_clipped, sharded_clipped = told["norms"]
    assert sharded == pytest.approx(whole, rel=1e-5) and whole > 0.5
    assert sharded_clipped == pytest.approx(whole_clipped, rel=1e-5) == pytest.approx(0.5, rel=1e-4)


def test_a_worker_holds_half_and_gathers_matrices_in_the_precision_they_are_used_in(seen: dict) -> None:
    shape = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, hidden=48, context=16)
    total = LanguageModel(shape).parameter_count()
    assert seen["fp32"]["parts"][0] == total
    assert seen["fp32"]["parts"][1] == pytest.approx(total / 2, rel=0.01)  # 257 rows have no half
    assert seen["fp32"]["seen"] == {"RMSNorm": "float32 [32]", "Linear": "float32 [32, 48]"}
    assert seen["bf16"]["seen"] == {"RMSNorm": "float32 [32]", "Linear": "bfloat16 [32, 48]"}


def test_whole_models_send_their_gradients_in_buckets_of_the_size_that_is_set(seen: dict) -> None:
    assert seen["fp32"]["bucket"] == 3 * 1024 * 1024


def test_a_sharded_model_computes_the_same_with_its_layers_compiled(seen: dict) -> None:
    assert seen["compiled"]["loss"] < 1e-6 and seen["compiled"]["grad"] < 1e-5
