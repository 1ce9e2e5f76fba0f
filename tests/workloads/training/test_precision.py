"""Fp8 without a GPU that has it: the refusal, and torchao's emulation of what it would do."""

from pathlib import Path

import pytest
import torch
from torch import nn

from workloads.training.config import TrainConfig
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.optimizer import build_optimizer
from workloads.training.precision import check_fp8, to_fp8
from workloads.training.step import gradients
from workloads.training.train import main

SHAPE = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, hidden=48, context=16)


def test_fp8_is_refused_on_a_cpu_with_the_rule_and_the_remedy(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(corpus), "--output", str(tmp_path / "model"), "--precision", "fp8"]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert (
        "precision='fp8': must be on an NVIDIA GPU of the Hopper generation, and this worker runs on a CPU"
        in said
    )
    assert "set --precision bf16" in said
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_fp8_cannot_tile_is_refused_by_name() -> None:
    config = TrainConfig(precision="fp8", model=ModelConfig(width=32, heads=4, key_value_heads=1, hidden=40))
    with pytest.raises(ConfigError) as error:
        check_fp8(config, torch.device("cpu"))
    assert "hidden=40: must be a multiple of 16" in str(error.value)
    assert "width / heads * key_value_heads=8: must be a multiple of 16" in str(error.value)
    assert "context" not in str(error.value)


def losses_of(model: LanguageModel, precision: str) -> list[float]:
    config = TrainConfig(model=SHAPE, precision=precision)
    rows = torch.randint(0, 257, (4, 17), generator=torch.Generator().manual_seed(3))
    optimizer, losses = build_optimizer(model, config), []
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(10):
        losses.append(gradients(model, rows, config).item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


def test_fp8_takes_the_layers_linears_and_learns_as_bf16_does() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        models.append(LanguageModel(SHAPE))
    half, eighth = models
    to_fp8(eighth, emulate=True)
    linears = {
        name: type(each).__name__ for name, each in eighth.named_modules() if isinstance(each, nn.Linear)
    }
    assert linears.pop("lm_head") == "Linear"
    assert len(linears) == 7 * SHAPE.layers and set(linears.values()) == {"Float8Linear"}
    assert eighth.state_dict().keys() == half.state_dict().keys()
    in_half, in_eighth = losses_of(half, "bf16"), losses_of(eighth, "fp8")
    assert in_eighth == pytest.approx(in_half, abs=0.05) and in_eighth != in_half
    assert in_eighth[-1] < in_eighth[0] - 0.5
