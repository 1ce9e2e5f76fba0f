"""Publish a trained model as a folder that transformers' AutoModelForCausalLM and AutoTokenizer load as it
is.

The folder also holds the run's own record and a manifest over everything; it appears whole, by one rename, as
the last act of a run. Left out: writing to object stores; a store is mounted and its folder given.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from workloads.manifest import publish_atomically, write_manifest
from workloads.training.config import ConfigError, local_path
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.tokens import END_OF_TEXT, END_OF_TEXT_NAME

METRICS = ("bits_per_byte", "bigram_bits_per_byte", "heldout_bytes", "train_loss", "steps")


def destination(output: str) -> Path:
    """The absolute folder that `output` names; raises ConfigError when a file stands there or above it."""
    folder = local_path("output", output).absolute()
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ConfigError(
                f"output={output!r}: {path} is a file, a model is a folder; remove it or go elsewhere"
            )
    return folder


def export(folder: Path, model: LanguageModel, record: Mapping[str, object]) -> str:
    """Publish `model` and the run's `record` (JSON values) at `folder`, replacing what was there.

    Returns the manifest's digest. Raises OSError when the storage refuses; then `folder` is as it was before.
    """
    with publish_atomically(folder) as partial:
        save_file(exported_weights(model), partial / "model.safetensors", metadata={"format": "pt"})
        _write(partial / "config.json", llama_config(model.config))
        ends = {"bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT, "pad_token_id": END_OF_TEXT}
        _write(partial / "generation_config.json", {**ends, "max_length": model.config.context})
        byte_tokenizer().save(str(partial / "tokenizer.json"))
        _write(partial / "tokenizer_config.json", tokenizer_config(model.config))
        _write(partial / "record.json", record)
        metrics = {name: record[name] for name in METRICS if name in record}
        return write_manifest(partial, data_digest=record.get("data_digest"), metrics=metrics)


def exported_weights(model: LanguageModel) -> dict[str, Tensor]:
    """The state dict under LlamaForCausalLM's names: float32, contiguous, on the CPU; no tied head."""
    weights = {
        name if name.startswith("lm_head.") else f"model.{name}": weight.detach().float().cpu().contiguous()
        for name, weight in model.state_dict().items()
    }
    if model.config.tied:  # the same values as embed_tokens; the reader ties them again
        del weights["lm_head.weight"]
    return weights


def llama_config(config: ModelConfig) -> dict[str, object]:
    """config.json; every field that shapes the computation is written, none left to a library's default."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.width // config.heads,
        "max_position_embeddings": config.context,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        # twice, for readers before and after transformers 5 moved it
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": config.tied,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": None,
        "use_cache": True,
        "torch_dtype": "float32",
    }


def byte_tokenizer() -> Tokenizer:
    """A tokenizer that gives every UTF-8 byte its own value as id, and END_OF_TEXT its name; nothing is
    merged.

    The BPE file format wants printable names for bytes; the byte-level pre-tokenizer and decoder translate.
    Text that spells out the end-of-text name is read as that token, as everywhere in Hugging Face's
    tokenizers.
    """
    vocabulary = {name: value for value, name in enumerate(byte_names())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT_NAME])  # takes the next free id
    assert tokenizer.token_to_id(END_OF_TEXT_NAME) == END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT_NAME)
    return tokenizer


def byte_names() -> list[str]:
    """The byte-level format's character for each byte, in byte order.

    A printable Latin-1 character stands for its own byte; the others, in byte order, take the characters from
    U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def tokenizer_config(config: ModelConfig) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT_NAME,
        "eos_token": END_OF_TEXT_NAME,
        "pad_token": END_OF_TEXT_NAME,
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": False,  # readers before transformers 5 would drop the space in "a ."
    }


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(dict(content), indent=2) + "\n", encoding="utf-8")
