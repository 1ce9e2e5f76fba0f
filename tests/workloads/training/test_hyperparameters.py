"""A run that goes on with other settings says so, keeps it, and learns by them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.workloads.training.runs import TINY
from workloads.training.checkpoint import sealed, unsealed
from workloads.training.train import main

OTHERS = {
    "learning_rate": 1e-3,
    "warmup": 1,
    "final_fraction": 0.5,
    "steps": 7,
    "weight_decay": 0.3,
    "clip": 0.7,
    "batch": 2,
    "precision": "bf16",
}
FIRST = {
    "learning_rate": 3e-3,
    "warmup": 2,
    "final_fraction": 0.05,
    "steps": 6,
    "weight_decay": 0.1,
    "clip": 1.0,
    "batch": 4,
    "precision": "fp32",
}


def flags(values: dict[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


@pytest.fixture
def begun(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Flags of a run that stopped after its first step, to go on with."""
    given = [*TINY, f"--data={corpus}", f"--checkpoints={tmp_path / 'kept'}", "--run-id=one"]
    assert main([*given, "--stop-at=1", f"--output={tmp_path / 'none'}"]) == 75
    capsys.readouterr()
    return given


def test_other_settings_are_told_kept_with_the_checkpoint_and_in_the_record(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*begun, *flags(OTHERS), f"--output={tmp_path / 'model'}"]) == 0
    captured = capsys.readouterr()
    [begin] = [line for line in map(json.loads, captured.err.splitlines()) if "run" in line]
    expected = {name: [FIRST[name], OTHERS[name]] for name in OTHERS}
    assert begin["changed"] == expected
    record = json.loads((tmp_path / "model" / "record.json").read_text())
    kept = json.loads((tmp_path / "kept" / "step-00000007" / "checkpoint.json").read_text())
    for place in (json.loads(captured.out), record, kept):
        assert place.items() >= OTHERS.items()
        assert sorted(place["changes"]) == sorted([1, name, *values] for name, values in expected.items())
    assert "settings changed on the way" in (tmp_path / "model" / "README.md").read_text()


def test_the_same_settings_are_no_change(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*begun, f"--output={tmp_path / 'model'}"]) == 0
    captured = capsys.readouterr()
    assert "changed" not in captured.err
    record = json.loads(captured.out)
    assert record.items() >= FIRST.items() and record["changes"] == []


def test_another_weight_decay_is_learned_by(
    begun: list[str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint holds the optimizer's own groups, which would bring the old one back."""
    assert main([*begun, "--steps=2", "--weight-decay=100", f"--output={tmp_path / 'strong'}"]) == 0
    calm = [*TINY, f"--data={corpus}", "--steps=2", f"--output={tmp_path / 'calm'}"]
    assert main(calm) == 0
    name = "model.layers.0.mlp.up_proj.weight"
    strong, calm_weights = (
        load_file(tmp_path / each / "model.safetensors")[name] for each in ("strong", "calm")
    )
    assert torch.linalg.norm(strong) < 0.99 * torch.linalg.norm(calm_weights)


def test_a_checkpoint_of_a_release_that_kept_no_settings_is_gone_on_from(
    begun: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept" / "step-00000001" / "checkpoint.json"
    facts = unsealed(path.read_bytes())
    assert facts
    for name in (*FIRST, "changes"):
        del facts[name]
    path.write_bytes(sealed(facts))
    assert main([*begun, *flags(OTHERS), f"--output={tmp_path / 'model'}"]) == 0
    captured = capsys.readouterr()
    assert '"from_step": 1' in captured.err and "changed" not in captured.err
    assert json.loads(captured.out).items() >= OTHERS.items()
