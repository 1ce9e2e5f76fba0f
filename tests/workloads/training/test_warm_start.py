"""A run that begins with the weights of a model folder: what transformers wrote, what we wrote, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a folder on disk needs no network
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.workloads.training.runs import TINY, lines
from workloads.manifest import manifest_digest
from workloads.serving.architecture import Architecture
from workloads.serving.source import read_source
from workloads.training.config import TrainConfig, parse
from workloads.training.data import load_corpus, windows
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel
from workloads.training.sampler import Sampler
from workloads.training.tokenizer import byte_tokenizer
from workloads.training.train import main
from workloads.training.warm_start import load, shape

BASE_FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
RUN = ["--steps=6", "--batch=4", "--warmup=2", "--evaluation-bytes=2000", "--log-every=1"]
THEIRS: dict[str, Any] = {
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rope_theta": 500.0,
    "rms_norm_eps": 1e-3,
    "tie_word_embeddings": True,
}
LAYOUTS = {
    "grouped and tied": {},
    "grouped and untied": {"tie_word_embeddings": False},
    "full and tied": {"num_key_value_heads": 4},
    "full and untied": {"num_key_value_heads": 4, "tie_word_embeddings": False},
}


def written(folder: Path, shard: str = "5GB", **changes: Any) -> LlamaForCausalLM:
    """A model of transformers, saved by it; every weight is drawn, scales too."""
    torch.manual_seed(4)
    model = LlamaForCausalLM(LlamaConfig(**{**THEIRS, **changes}))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_of_transformers_is_read_from_shards_and_computes_the_same_logits(
    tmp_path: Path, layout: str
) -> None:
    theirs = written(tmp_path, shard="20KB", **LAYOUTS[layout])
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ours = LanguageModel(shape(tmp_path, {}))
    assert load(tmp_path, ours).startswith("sha256:")
    assert (ours.config.rope_theta, ours.config.norm_eps) == (500.0, 1e-3)
    assert ours.parameter_count() == sum(weight.numel() for weight in theirs.parameters())
    tokens = torch.randint(0, 257, (2, 64), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert expected.std() > 0.05, "logits that are all alike would agree by chance"
        assert (ours(tokens) - expected).abs().max() < 1e-4


def tuned(
    corpus: Path, init: str, output: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[list, dict]:
    """A run that begins there: its lines and its record."""
    given = [*RUN, "--data", str(corpus), "--init", init, "--output", str(output), "--context", "32", *more]
    assert main(given) == 0
    captured = capsys.readouterr()
    [record] = lines(captured.out)
    return lines(captured.err), record


def test_the_first_loss_is_that_of_the_given_weights_and_training_lowers_it(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = written(tmp_path / "theirs")
    told, record = tuned(corpus, str(tmp_path / "theirs"), tmp_path / "model", capsys, "--steps", "40")
    tokens = load_corpus(TrainConfig(data=str(corpus))).training
    rows = windows(tokens, Sampler(len(tokens), 32, seed=0).take(4), 32)
    with torch.no_grad():
        expected = theirs(rows, labels=rows).loss.item()
    assert told[0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert told[-1]["loss"] < expected - 0.5
    assert record["init_digest"].startswith("sha256:")
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    with torch.no_grad():
        assert again(rows, labels=rows).loss.item() < expected - 0.5
    assert (again.config.rms_norm_eps, again.config.tie_word_embeddings) == (1e-3, True)


def test_our_own_export_is_a_start_and_its_manifest_names_it_in_the_record(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    assert main([*TINY, "--data", str(corpus), "--output", str(first)]) == 0
    capsys.readouterr()
    _, record = tuned(
        corpus, first.as_uri(), tmp_path / "second", capsys, "--steps", "1", "--learning-rate", "1e-12"
    )
    assert record["init_digest"] == manifest_digest(first)
    assert json.loads((tmp_path / "second" / "record.json").read_text())["init"] == first.as_uri()
    before, after = (load_file(folder / "model.safetensors") for folder in (first, tmp_path / "second"))
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-6) for name in before)


def test_a_checkpoint_wins_over_the_start_and_other_first_weights_are_another_run(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "theirs")
    written(tmp_path / "others", initializer_range=0.5)
    calm, _ = tuned(corpus, str(tmp_path / "theirs"), tmp_path / "calm", capsys)
    given = [*RUN, "--context=32", "--data", str(corpus), "--output", str(tmp_path / "model"), "--run-id=one"]
    given += ["--checkpoints", str(tmp_path / "kept")]
    assert main([*given, "--init", str(tmp_path / "theirs"), "--stop-at=1"]) == 75
    first = lines(capsys.readouterr().err)
    assert main([*given, "--init", str(tmp_path / "others")]) == 2
    assert "has init_digest='sha256:" in capsys.readouterr().err
    assert main([*given, "--init", str(tmp_path / "theirs")]) == 0
    told = [*first, *lines(capsys.readouterr().err)]
    assert [(line["step"], line["loss"]) for line in told] == [(line["step"], line["loss"]) for line in calm]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mistral"}, "model_type='mistral': must be 'llama'"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu': must be 'silu'"),
        ({"attention_bias": True}, "attention_bias=True: must be False"),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}},
            "rope_type='llama3': must be 'default'",
        ),
        ({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": None}, "rope_type='linear'"),
        ({"head_dim": 16}, "head_dim=16: must be hidden_size / num_attention_heads"),
        ({"vocab_size": None}, "vocab_size=None: must be a whole number from 1"),
        ({"num_attention_heads": 0}, "num_attention_heads=0: must be a whole number from 1"),
        ({"num_key_value_heads": 0}, "num_key_value_heads=0: must be a whole number from 1"),
        ({"hidden_size": 32.0}, "hidden_size=32.0: must be a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True: must be a whole number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings=1: must be true or false"),
        ({"rms_norm_eps": 0}, "rms_norm_eps=0: must be a number above 0"),
        ({"head_dim": "8"}, "head_dim='8': must be a whole number"),
        ({"rope_scaling": "linear"}, "rope_scaling='linear': must be an object or null"),
        ({"rope_theta": "big", "rope_parameters": None}, "rope_theta='big': must be a number above 0"),
        ({"rope_parameters": {"rope_theta": "big"}}, "rope_theta='big': must be a number above 0"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: must be 1.0"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5: must be 1.0"),
        ({"quantization_config": {"bits": 4}}, "quantization_config={'bits': 4}: must be None"),
    ],
)
def test_what_the_model_would_compute_otherwise_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = LlamaConfig(**THEIRS).to_dict()
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ConfigError, match="take a model in Llama's plain layout") as error:
        shape(tmp_path, {})
    assert said in str(error.value)


def test_a_flag_that_is_not_of_the_folders_model_is_refused_and_a_shorter_context_is_not(
    tmp_path: Path,
) -> None:
    written(tmp_path)
    init = ["--init", str(tmp_path)]
    assert parse([*init, "--context", "32", "--width", "32"], world=1).model.context == 32
    with pytest.raises(ConfigError) as error:
        parse([*init, "--context", "128", "--tied", "false"], world=1)
    assert "context=128: the model of init=" in str(error.value) and "tied=False: the model of" in str(
        error.value
    )
    with pytest.raises(ConfigError, match="preset='tiny': must be left out"):
        parse([*init, "--preset", "tiny"], world=1)
    with pytest.raises(ConfigError, match="must be a folder with config.json and safetensors"):
        parse(["--init", str(tmp_path / "nowhere")], world=1)


@pytest.mark.parametrize(
    "damage", ["a weight less", "another shape", "one more", "no number", "cut off", "no shard"]
)
def test_weights_that_are_not_the_models_are_refused_by_name(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    written(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    if damage == "a weight less":
        del weights[name]
    elif damage == "another shape":
        weights[name] = weights[name][:-1].clone()
    elif damage == "one more":
        weights["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
    elif damage == "no number":
        weights[name][3, :2], weights[name][4, 0] = float("nan"), float("inf")
    save_file(weights, file)
    if damage == "cut off":
        os.truncate(file, 5000)
    elif damage == "no shard":
        file.unlink()
    given = [
        *RUN,
        "--data",
        str(corpus),
        "--init",
        str(tmp_path / "theirs"),
        "--output",
        str(tmp_path / "model"),
    ]
    assert main([*given, "--context=32"]) == 2
    said = capsys.readouterr().err
    assert {
        "a weight less": "layers.1.mlp.up_proj.weight is in no file",
        "another shape": f"{name} is [47, 32], the model has [48, 32]",
        "no number": f"{name} holds 3 of 1536 values that are no number or infinite",
        "one more": "model.layers.0.self_attn.q_proj.bias is [32], the model has no such weight",
    }.get(damage, "model.safetensors cannot be read") in said
    assert not (tmp_path / "model").exists()


def test_data_of_another_tokenizer_than_the_models_is_refused_with_the_one_to_use(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "theirs"
    written(first)
    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "[UNK]": 2}, "unk_token": "[UNK]"}
    (first / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    given = [
        *RUN,
        "--data",
        str(corpus),
        "--init",
        str(first),
        "--output",
        str(tmp_path / "model"),
        "--context=32",
    ]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert "its tokenizer and the data's differ in " in said and f"--tokenizer {first}/tokenizer.json" in said


CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}:{{ m['content'] }}{{ eos_token }}{% endfor %}"


def instructed(folder: Path) -> dict[str, Any]:
    """A model that answers messages, in the byte vocabulary: the tokens of its tokenizer_config.json."""
    written(folder, max_position_embeddings=256, bos_token_id=255, eos_token_id=[254, 253], pad_token_id=252)
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [254, 251], "temperature": 0.7})
    )
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    special = {"bos_token": "!", "eos_token": "#", "pad_token": "$", "model_max_length": 256}
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, "additional_special_tokens": ["%"]}))
    (folder / "chat_template.jinja").write_text(CHAT)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    return special


def test_a_fine_tuned_model_keeps_template_special_tokens_end_tokens_and_context_of_the_one_it_began_with(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    special = instructed(tmp_path / "theirs")
    tuned(corpus, str(tmp_path / "theirs"), tmp_path / "model", capsys, "--steps", "1", "--context", "64")
    config, generation, tokenizer = (
        json.loads((tmp_path / "model" / name).read_text())
        for name in ("config.json", "generation_config.json", "tokenizer_config.json")
    )
    assert config["max_position_embeddings"] == 256
    assert [config[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [255, [254, 253], 252]
    assert generation == {"eos_token_id": [254, 253, 251, 256], "temperature": 0.7}
    assert tokenizer.items() >= special.items() and tokenizer["additional_special_tokens"] == ["%"]
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [{"role": "user", "content": "hi"}]
    assert loaded.apply_chat_template(messages, tokenize=False) == "<|im_start|>user:hi#"
    assert (tmp_path / "model" / "additional_chat_templates" / "tool_use.jinja").read_text() == "tools"


def test_a_fine_tuned_model_is_published_and_answers_a_chat_up_to_its_whole_context(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instructed(tmp_path / "theirs")
    tuned(corpus, str(tmp_path / "theirs"), tmp_path / "model", capsys, "--steps", "1", "--context", "64")
    source = read_source(str(tmp_path / "model"))
    assert isinstance(source.architecture, Architecture)
    assert source.architecture.context_length == 256
    assert source.architecture.eos_token_ids == (254, 253, 251, 256)
    assert source.tokenizer_config["chat_template"] == CHAT


def test_a_fine_tuned_model_goes_on_with_what_it_kept(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice tuned, through a checkpoint, is what once tuned is."""
    instructed(tmp_path / "theirs")
    tuned(corpus, str(tmp_path / "theirs"), tmp_path / "once", capsys, "--steps", "1")
    given = [*RUN, "--context=32", "--data", str(corpus), "--output", str(tmp_path / "twice"), "--run-id=one"]
    given += ["--checkpoints", str(tmp_path / "kept"), "--init", str(tmp_path / "once")]
    assert main([*given, "--stop-at=1"]) == 75
    assert main(given) == 0
    names = ["config.json", "generation_config.json", *BASE_FILES]
    once, twice = ([(tmp_path / each / name).read_bytes() for name in names] for each in ("once", "twice"))
    assert once == twice


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "eos_token_id", "x"),
        ("config.json", "pad_token_id", [1]),
        ("generation_config.json", "eos_token_id", [1, -1]),
    ],
)
def test_an_id_of_the_folder_that_is_none_is_refused_before_a_step(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], file: str, field: str, value: Any
) -> None:
    instructed(tmp_path / "theirs")
    path = tmp_path / "theirs" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    given = [*RUN, "--data", str(corpus), "--init", str(tmp_path / "theirs"), "--context=32"]
    assert main([*given, "--output", str(tmp_path / "model")]) == 2
    captured = capsys.readouterr().err
    assert f"{file}: {field}={value!r}: must be a token's number" in captured and '"step"' not in captured


@pytest.mark.parametrize("vocabulary", [257, 512, 4096])
def test_a_given_model_may_have_a_vocabulary_padded_as_its_maker_chose(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str], vocabulary: int
) -> None:
    written(tmp_path / "theirs", vocab_size=vocabulary)
    byte_tokenizer().save(str(tmp_path / "theirs" / "tokenizer.json"))
    tuned(corpus, str(tmp_path / "theirs"), tmp_path / "model", capsys, "--steps", "1")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["vocab_size"] == vocabulary


def test_a_given_model_with_fewer_tokens_than_the_data_is_refused_with_a_remedy_that_is_not(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "theirs", vocab_size=256)
    given = [*RUN, "--data", str(corpus), "--init", str(tmp_path / "theirs"), "--context=32"]
    assert main([*given, "--output", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert "vocabulary=256: the data has 257 token ids" in said and "--vocabulary" not in said
