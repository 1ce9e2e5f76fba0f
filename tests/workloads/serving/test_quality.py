"""The gate of publishing: it measures what was written, and says no with both numbers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from tests.workloads.serving.conftest import export
from workloads.held_out import calibration_excerpts, held_out_excerpts, is_held_out
from workloads.manifest import verify_manifest, write_manifest
from workloads.serving.model import Decoder
from workloads.serving.publish import judge_written, main, publish, write_model
from workloads.serving.quality import Gate, TooMuchLost, bits_per_byte
from workloads.serving.quantize import quantize
from workloads.serving.schemes import SCHEMES
from workloads.serving.source import read_source

GATE = Gate(text_bytes=10_000)
SIZES = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.02}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned some of the library's text, so that spoiling it shows."""
    folder = export(tmp_path_factory.mktemp("learned") / "model", **SIZES)
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = torch.tensor(tokenizer.encode(Path(json.__file__).read_text()).ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(3)
    for _ in range(60):
        starts = torch.randint(len(text) - 64, (16,))
        batch = text[starts[:, None] + torch.arange(64)]
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_manifest(folder)
    return folder


def test_the_text_of_the_gate_is_enough_and_none_that_a_run_learns_from() -> None:
    from workloads.training.documents import is_held_out as runs_hold_out

    excerpts = held_out_excerpts(100_000)
    assert sum(map(len, excerpts)) >= 100_000 and len(set(excerpts)) > 50
    assert runs_hold_out is is_held_out
    library = Path(os.__file__).parent
    kept = "\n".join(
        path.read_text(errors="ignore")
        for path in library.rglob("*.py")
        if "-packages" not in str(path) and is_held_out(path.relative_to(library).as_posix())
    )
    assert all(text in kept for text in excerpts)
    assert not any(text in kept for text in calibration_excerpts(20_000)), "tuned on what it is judged on"


def test_bits_per_byte_are_those_of_transformers(learned: Path) -> None:
    source = read_source(str(learned))
    assert not isinstance(source.architecture, type(None))
    text = held_out_excerpts(500)[:1]
    tokenizer = Tokenizer.from_str(source.tokenizer)
    ids = torch.tensor([tokenizer.encode(text[0]).ids[:512]])
    reference: Any = LlamaForCausalLM.from_pretrained(learned)
    with torch.no_grad():
        loss = float(reference(ids, labels=ids).loss) / torch.log(torch.tensor(2.0))
    decoder: Any = Decoder(source.architecture, source.tensors)  # type: ignore[arg-type]
    assert bits_per_byte(decoder, tokenizer, [text[0][:512]]) == pytest.approx(float(loss), abs=1e-4)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "fp8"])
def test_a_model_of_our_own_passes_in_every_scheme_and_its_manifest_tells_both_numbers(
    learned: Path, tmp_path: Path, scheme: str
) -> None:
    published = publish(str(learned), scheme, str(tmp_path / "out"), GATE)
    quality = verify_manifest(tmp_path / "out", published["digest"])["quality"]
    assert quality == published["quality"]
    assert quality["before"] < 6, "a model that has learned nothing cannot be spoiled"
    assert quality["loss_percent"] == pytest.approx(
        100 * (quality["after"] / quality["before"] - 1), abs=0.05
    )
    assert quality["loss_percent"] < (5 if scheme == "int4-weight-only" else 1)
    assert (
        quality["agreement"] > (0.3 if scheme == "int4-weight-only" else 0.6)
        and quality["text_bytes"] >= 10_000
    )


def test_scales_of_one_layer_that_are_spoiled_after_quantizing_are_refused_with_both_numbers(
    learned: Path, tmp_path: Path
) -> None:
    source = read_source(str(learned))
    write_model(tmp_path, source, "int8-weight-only")
    good = judge_written(tmp_path, source, "int8-weight-only", GATE)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight_scale"] *= 30
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(
        TooMuchLost, match=rf"bits per byte went from {good.before:.4f} to \d+\.\d+, a loss of .* 1 %"
    ):
        judge_written(tmp_path, source, "int8-weight-only", GATE)


def test_a_source_whose_outliers_break_the_scales_is_refused_by_the_command_and_leaves_nothing(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # one input of down_proj is scaled up and the row that makes it down: the same function in fp32, but
    # its column now takes all the steps of every row's scale
    folder = export(tmp_path / "outliers", **SIZES)
    weights = load_file(learned / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][:, 5] *= 2000
    weights["model.layers.1.mlp.up_proj.weight"][5] /= 2000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "manifest.json").unlink()
    flags = ["--source", str(folder), "--scheme", "int8-weight-only", "--output", str(tmp_path / "out")]
    assert main(flags) == 2
    said = capsys.readouterr()
    assert said.out == "" and "bits per byte went from" in said.err and "--max-loss-percent" in said.err
    assert os.listdir(tmp_path) == ["outliers"]
    assert main([*flags, "--max-loss-percent", "1000"]) == 0, "who means it may say so"


def test_an_input_with_an_outlier_is_evened_out_before_inputs_are_rounded_too(
    learned: Path, tmp_path: Path
) -> None:
    # one input of down_proj is large and its column small: the same function in fp32, but the steps of a token
    # are then all for that one
    folder = export(tmp_path / "outliers", **SIZES)
    weights = load_file(learned / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][:, 5] /= 2000
    weights["model.layers.1.mlp.up_proj.weight"][5] *= 2000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "manifest.json").unlink()
    quality = publish(str(folder), "int8-dynamic", str(tmp_path / "out"), GATE)["quality"]
    assert quality["loss_percent"] < 0.5
    source = read_source(str(folder))
    plain = quantize(source.tensors.items(), SCHEMES["int8-dynamic"])  # the control: the gate says no
    save_file(plain, tmp_path / "out" / "model.safetensors")
    with pytest.raises(TooMuchLost, match="bits per byte went from"):
        judge_written(tmp_path / "out", source, "int8-dynamic", GATE)


def test_int8_costs_smollm2_under_one_per_cent(smollm2: dict[str, Any]) -> None:
    quality = smollm2["quality"]
    assert 0 < quality["before"] < 2 and quality["loss_percent"] < 1 and quality["agreement"] > 0.6
