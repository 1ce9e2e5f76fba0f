import hashlib
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a folder on disk needs no network
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.workloads.training.runs import TINY
from workloads.manifest import ManifestError, manifest_digest, verify_manifest
from workloads.training.export import export
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.tokenizer import load_tokenizer
from workloads.training.tokens import END_OF_TEXT_NAME
from workloads.training.train import main

SHAPES = {
    "tied and grouped": ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, hidden=48, context=64),
    "untied, one group, other constants": ModelConfig(
        width=48,
        layers=3,
        heads=3,
        key_value_heads=3,
        hidden=80,
        context=64,
        tied=False,
        rope_theta=500.0,
        norm_eps=0.1,
    ),
}


def exported(folder: Path, config: ModelConfig) -> LanguageModel:
    torch.manual_seed(1)
    model = LanguageModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)  # fresh norm scales are all ones and would hide a mix-up
    export(
        folder,
        model,
        load_tokenizer("bytes", END_OF_TEXT_NAME),
        {"data_digest": "sha256:00", "bits_per_byte": 2.5},
        "# A card\n",
    )
    return model


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_loads_the_folder_whole_and_computes_the_same_logits(tmp_path: Path, shape: str) -> None:
    model = exported(tmp_path / "model", SHAPES[shape])
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", output_loading_info=True, dtype=torch.float32
    )
    theirs, report = loaded
    assert {name: len(found) for name, found in report.items()} == dict.fromkeys(report, 0)
    assert {"missing_keys", "unexpected_keys", "mismatched_keys"} <= report.keys()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert sum(weight.numel() for weight in theirs.parameters()) == model.parameter_count()
    tokens = torch.randint(0, 257, (2, 64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours, expected = model(tokens), theirs(tokens).logits
    assert expected.std() > 0.05, "logits that are all alike would agree by chance"
    assert (ours - expected).abs().max() < 1e-4


def test_a_later_token_changes_no_earlier_logits() -> None:
    model = LanguageModel(SHAPES["tied and grouped"])
    tokens = torch.randint(0, 257, (1, 16), generator=torch.Generator().manual_seed(2))
    other = tokens.clone()
    other[0, 10] = (other[0, 10] + 1) % 257
    with torch.no_grad():
        difference = (model(tokens) - model(other)).abs().amax(dim=-1)[0]
    assert difference[:10].max() < 1e-6 < difference[10]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        " two  spaces . \n\ttab\r\n",
        "héllo wörld",
        "日本語 \U0001f600 e\u0301",
        "".join(map(chr, range(0x250))),  # every continuation byte
    ],
)
def test_token_ids_are_the_bytes_and_decode_to_the_same_text(tmp_path: Path, text: str) -> None:
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer(text)["input_ids"] == list(text.encode())
    assert tokenizer.decode(list(text.encode())) == text


def test_every_byte_has_an_id_and_the_end_of_text_has_the_next(tmp_path: Path) -> None:
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert sorted(tokenizer.get_vocab().values()) == list(range(257))
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (256, 256)
    assert tokenizer.decode([104, 105, 256], skip_special_tokens=True) == "hi"


def test_the_model_can_generate_from_the_folder_alone(tmp_path: Path) -> None:
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    prompt = torch.tensor([list(b"def ")])
    assert model.generate(prompt, max_new_tokens=5, do_sample=False).shape[1] <= 9


def test_a_number_that_is_none_is_not_published(tmp_path: Path) -> None:
    model = LanguageModel(SHAPES["tied and grouped"])
    tokenizer = load_tokenizer("bytes", END_OF_TEXT_NAME)
    with pytest.raises(ValueError, match="not JSON compliant"):
        export(tmp_path / "model", model, tokenizer, {"seed": 0, "moment": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_folder_verifies_and_names_its_data_and_metrics(tmp_path: Path) -> None:
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    manifest = verify_manifest(tmp_path / "model")
    assert sorted(manifest["files"]) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert (manifest["data_digest"], manifest["metrics"]) == ("sha256:00", {"bits_per_byte": 2.5})
    assert json.loads((tmp_path / "model" / "record.json").read_text())["bits_per_byte"] == 2.5


def test_the_same_run_has_the_same_digest_however_long_it_took(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = []
    for name in ("one", "two"):
        assert main([*TINY, "--data", str(corpus), "--output", str(tmp_path / name)]) == 0
        records.append(json.loads((tmp_path / name / "record.json").read_text()))
    assert records[0] != records[1], "times differ"
    assert manifest_digest(tmp_path / "one") == manifest_digest(tmp_path / "two")


def test_a_folder_whose_manifest_lists_its_papers_still_verifies_and_they_are_checked(tmp_path: Path) -> None:
    """As earlier versions wrote it."""
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    card = (tmp_path / "model" / "README.md").read_bytes()
    manifest["files"]["README.md"] = {"sha256": hashlib.sha256(card).hexdigest(), "bytes": len(card)}
    path.write_text(json.dumps(manifest))
    verify_manifest(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_bytes(card[::-1])
    with pytest.raises(ManifestError, match=r"README\.md: expected sha256"):
        verify_manifest(tmp_path / "model")


def test_a_model_that_the_disk_does_not_take_is_named_and_the_one_before_stays(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path / "model", SHAPES["tied and grouped"])
    before, (soft, hard) = manifest_digest(tmp_path / "model"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert main([*TINY, "--data", str(corpus), "--output", str(tmp_path / "model")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert (
        "/model': the model could not be written (" in said
        and "File too large" in said
        and "Make room" in said
    )
    assert manifest_digest(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
