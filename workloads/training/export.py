"""Publish a trained model as a folder that transformers' AutoModelForCausalLM and AutoTokenizer load as it
is.

The folder also holds the run's own record, a model card and a manifest over everything; it appears whole, as the last
act of a run.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from workloads.manifest import OutputRefused, write_manifest
from workloads.remote import check_output, publishing
from workloads.training.base import Base
from workloads.training.config import place, shown
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.tokenizer import TextTokenizer

METRICS = ("bits_per_byte", "bigram_bits_per_byte", "heldout_bytes", "train_loss", "steps")


class ExportFailed(Exception):
    """The trained model could not be written; the message names the place and the remedy."""


def destination(output: str) -> Path | str:
    """The absolute folder or the object store's address that `output` names.

    Raises ConfigError when nothing can be put there, or there is something that was not published; RemoteError.
    """
    named = place("output", output)
    found = named.absolute() if isinstance(named, Path) else named
    try:
        check_output(found)
    except OutputRefused as error:
        raise ConfigError(str(error)) from error
    return found


def export(
    output: Path | str,
    model: LanguageModel,
    tokenizer: TextTokenizer,
    record: Mapping[str, object],
    card: str = "",
    base: Base | None = None,
) -> str:
    """Publish `model`, its tokenizer, the run's `record` (JSON values) and its `card` at `output`.

    Of a model that began with another one, its `base`, that one's tokenizer, chat template, special tokens, end tokens
    and context are published too. What was there is replaced. Returns the manifest's digest. Raises ExportFailed or
    RemoteError when the storage refuses, OutputRefused when it holds something that was not published; a folder is then
    as it was.
    """
    try:
        return _export(output, model, tokenizer, record, card, base)
    except (OSError, SafetensorError) as error:
        raise ExportFailed(
            f"output={shown(output)!r}: the model could not be written ({error}); what was there is as it was. Make "
            "room, or give another place, and run again: with checkpoints no step is taken twice"
        ) from error


def _export(
    output: Path | str,
    model: LanguageModel,
    tokenizer: TextTokenizer,
    record: Mapping[str, object],
    card: str,
    base: Base | None,
) -> str:
    with publishing(output) as partial:
        save_file(exported_weights(model), partial / "model.safetensors", metadata={"format": "pt"})
        config, end = model.config, tokenizer.end_of_text
        (partial / "tokenizer.json").write_text(tokenizer.file, encoding="utf-8")
        if base:
            config = replace(config, context=base.context)
            _write(partial / "config.json", {**llama_config(config, end), **base.tokens})
            _write(partial / "generation_config.json", {**base.generation, "eos_token_id": base.ends(end)})
        else:
            ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
            _write(partial / "config.json", llama_config(config, end))
            _write(partial / "generation_config.json", {**ends, "max_length": config.context})
        _write(partial / "tokenizer_config.json", tokenizer_config(config, tokenizer.end_of_text_name))
        for name, content in (base.files if base else {}).items():
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_bytes(content)
        _write(partial / "record.json", record)
        if card:
            (partial / "README.md").write_text(card, encoding="utf-8")
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


def llama_config(config: ModelConfig, end_of_text: int) -> dict[str, object]:
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
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
        "use_cache": True,
        "torch_dtype": "float32",
    }


def tokenizer_config(config: ModelConfig, end_of_text: str) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "pad_token": end_of_text,
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": False,  # readers before transformers 5 would drop the space in "a ."
    }


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(dict(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")
