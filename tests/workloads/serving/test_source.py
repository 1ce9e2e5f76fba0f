"""What a model brings along is read for what it means, or refused in words that name file, field and value."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers

from tests.workloads.serving.conftest import TEMPLATE, byte_tokenizer
from tests.workloads.serving.test_encoder import MINILM
from workloads.serving.architecture import Architecture, UnsupportedModel
from workloads.serving.chat import ChatTemplate
from workloads.serving.publish import main, write_model
from workloads.serving.source import Source, SourceError, _package_path, read_source

LAST = 256  # the highest token of the tiny model
Change = Callable[..., Path]


@pytest.fixture
def change(tiny: Path, tmp_path: Path) -> Change:
    """The tiny model with other fields in a JSON file of its, or other bytes."""

    def make(file: str, content: bytes | dict[str, Any]) -> Path:
        folder = shutil.copytree(tiny, tmp_path / "export", dirs_exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        path = folder / file
        if isinstance(content, dict):
            before = json.loads(path.read_text()) if path.exists() else {}
            content = json.dumps(before | content).encode()
        path.write_bytes(content)
        return folder

    return make


def test_a_tokenizer_that_was_saved_to_cut_and_to_pad_is_published_as_one_that_does_neither(
    change: Change, tmp_path: Path
) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=20)
    source = read_source(str(change("tokenizer.json", tokenizer.to_str().encode())))
    (tmp_path / "out").mkdir()
    write_model(tmp_path / "out", source, "none")
    written = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [len(written.encode(text).ids) for text in ("hi", "x" * 58)] == [2, 58]


def test_the_end_tokens_of_both_configs_end_an_answer(change: Change) -> None:
    change("config.json", {"eos_token_id": LAST})
    source = read_source(str(change("generation_config.json", {"eos_token_id": [LAST, 97]})))
    assert isinstance(source.architecture, Architecture)
    assert source.architecture.eos_token_ids == (LAST, 97)


@pytest.mark.parametrize(
    "template", [TEMPLATE, [{"name": "tool_use", "template": ""}, {"name": "default", "template": TEMPLATE}]]
)
def test_a_template_alone_or_named_default_among_others_and_tokens_in_objects_are_published_as_text(
    change: Change, template: Any
) -> None:
    tokens = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>", "pad_token": "<pad>"}
    source = read_source(str(change("tokenizer_config.json", {"chat_template": template, **tokens})))
    assert source.tokenizer_config == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "chat_template": TEMPLATE,
    }


def test_a_template_may_leave_its_loop(change: Change) -> None:
    template = (
        b"{% for m in messages %}{{ m['content'] }}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
    )
    config = read_source(str(change("chat_template.jinja", template))).tokenizer_config
    messages = [{"role": "user", "content": text} for text in "abc"]
    assert ChatTemplate(config["chat_template"], config).render(messages) == "ab"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", {"hidden_size": "abc"}, "config.json: hidden_size is 'abc'; it must be a whole number"),
        ("config.json", {"hidden_size": None}, "hidden_size is None"),
        ("config.json", {"num_hidden_layers": True}, "num_hidden_layers is True"),
        ("config.json", {"num_attention_heads": 0}, "num_attention_heads is 0"),
        ("config.json", {"num_key_value_heads": 3}, "num_key_value_heads is 3; it must divide"),
        ("config.json", {"head_dim": 7}, "head_dim is 7; .* even"),
        ("config.json", {"rms_norm_eps": float("nan")}, "rms_norm_eps is nan; it must be a number"),
        ("config.json", {"rope_scaling": "x"}, "rope_scaling is 'x'; it must be an object"),
        ("config.json", {"rope_parameters": {"rope_type": "linear"}}, "field 'factor' is missing"),
        ("config.json", {"eos_token_id": LAST + 1}, f"config.json: eos_token_id is {LAST + 1}; .* 0 to {LAST}"),
        ("config.json", {"eos_token_id": "x"}, "eos_token_id is 'x'"),
        ("generation_config.json", {"eos_token_id": [1, -1]}, r"generation_config.json: eos_token_id is \[1, -1\]"),
        ("config.json", b"[]", "config.json holds list"),
        ("config.json", b"{", "config.json is not JSON"),
        ("tokenizer.json", b"\xff", "tokenizer.json cannot be read .*utf-8"),
        ("tokenizer.json", b"{}", "tokenizer.json cannot be read"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja cannot be read .*utf-8"),
        ("chat_template.jinja", b"{% for %}", "chat_template cannot be read .*; mend it"),
        ("tokenizer_config.json", {"chat_template": [{"name": "rag", "template": ""}]}, r"chat_template is \['rag'\]"),
        ("tokenizer_config.json", {"chat_template": 5}, "chat_template is 5"),
        ("tokenizer_config.json", {"bos_token": {"id": 1}}, "bos_token is {'id': 1}; it must be text"),
        ("model.safetensors", b"cut off", "model.safetensors cannot be read"),
        ("model.safetensors.index.json", {"weight_map": []}, "--source .*: cannot be read .*AttributeError"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_as_it_should_be_is_refused_with_file_field_and_value(
    change: Change, file: str, content: bytes | dict[str, Any], words: str
) -> None:
    folder = change(file, content)
    if file == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    with pytest.raises((SourceError, UnsupportedModel), match=words):
        read_source(str(folder))


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "layer_norm_eps", "x"),
        ("config.json", "num_attention_heads", 5),
        ("sentence_bert_config.json", "max_seq_length", "long"),
    ],
)
def test_an_encoder_that_is_not_as_it_should_be_is_refused_too(
    tmp_path: Path, file: str, field: str, value: Any
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(_package_path(MINILM), folder, ignore=shutil.ignore_patterns("*.safetensors", "*.py*"))
    before = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(before | {field: value}))
    with pytest.raises(UnsupportedModel, match=f"{file}: {field} is {value!r}"):
        read_source(str(folder))


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A Llama of one layer in a GGUF file: a token for each byte, one of two, and the end."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "<|end|>"]
    writer = GGUFWriter(path, "llama")
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(16)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b"])
    writer.add_token_types([1] * 257 + [3])
    writer.add_eos_token_id(257)
    shapes = {"token_embd": (258, 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.ffn_norm": (8,)}
    shapes |= {"blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8), "blk.0.attn_v": (4, 8)}
    shapes |= {"blk.0.attn_output": (8, 8), "blk.0.ffn_gate": (16, 8), "blk.0.ffn_up": (16, 8)}
    for name, shape in (shapes | {"blk.0.ffn_down": (8, 16)}).items():
        writer.add_tensor(f"{name}.weight", np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def read_bytes(tmp_path: Path, content: bytes) -> Source:
    (tmp_path / "model.gguf").write_bytes(content)
    return read_source(str(tmp_path / "model.gguf"))


def test_a_gguf_file_that_was_cut_off_anywhere_is_refused_and_to_be_copied_again(
    gguf: bytes, tmp_path: Path
) -> None:
    assert read_bytes(tmp_path, gguf).tokenizer_config == {"eos_token": "<|end|>"}
    for length in (0, 3, 24, 100, len(gguf) // 2, len(gguf) - 300):
        with pytest.raises(SourceError, match=r"model\.gguf': cannot be read .* copy it again"):
            read_bytes(tmp_path, gguf[:length])


def test_a_gguf_file_of_which_a_byte_was_flipped_is_read_or_refused(gguf: bytes, tmp_path: Path) -> None:
    refused = 0
    for at in (*range(40), *range(40, 6000, 97)):
        try:
            read_bytes(tmp_path, gguf[:at] + bytes([gguf[at] ^ 0xFF]) + gguf[at + 1 :])
        except (SourceError, UnsupportedModel):
            refused += 1
    assert refused > 40


def test_the_command_exits_with_2_and_one_line_for_a_damaged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    flags = ["--source", str(tmp_path / "model.gguf"), "--scheme", "none", "--output", str(tmp_path / "out")]
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "cannot be read" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named_with_its_count_when_it_is_read(
    change: Change, value: float
) -> None:
    folder = change("config.json", {})
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][0, 3], weights[name][5, 5] = value, value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        SourceError, match=f"tensor '{name}' holds 2 of 2048 values that are no number or infinite"
    ):
        read_source(str(folder))
