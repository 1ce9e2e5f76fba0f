"""A Llama model in one GGUF file: its tensors widened to fp32, its tokenizer rebuilt.

Reads the format's own fields with the `gguf` package; no model code of another library runs. Only what the
bundled model needs: architecture `llama` and the `smollm` flavour of byte-level BPE.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from workloads.serving.architecture import Architecture
from workloads.serving.source import Source, SourceError, check_tensors, file_digest

_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding"}
"""Our names of special tokens, and GGUF's own, one of which it spells so."""
_CONTROL_TOKEN = 3  # token_type of tokens that are never part of text


def read_gguf(uri: str, path: Path) -> Source:
    """Read one GGUF file. Raises SourceError for a layout, tokenizer or tensor outside the above."""
    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama":
        raise SourceError(
            f"--source {uri!r}: architecture is {fields['general.architecture']!r}; only 'llama' is served"
        )
    quantized = {tensor.name: tensor for tensor in reader.tensors}
    architecture = _architecture(fields, tied="output.weight" not in quantized)
    tensors = {}
    for name, tensor in quantized.items():
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        tensors[_hf_name(uri, name)] = torch.from_numpy(_unpermute(name, values, architecture))
    return Source(
        name=uri,
        digest=file_digest(path),
        architecture=architecture,
        tensors=check_tensors(architecture, tensors),
        tokenizer=_tokenizer(uri, fields).to_str(),
        tokenizer_config=_tokenizer_config(fields),
    )


def _architecture(fields: dict[str, Any], tied: bool) -> Architecture:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "head_dim": fields.get("llama.attention.key_length"),
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields.get("llama.rope.freq_base"),
        "tie_word_embeddings": tied,
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
    }
    scaling = fields.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        config["rope_scaling"] = {
            "rope_type": scaling,
            "factor": fields.get("llama.rope.scaling.factor", 1.0),
        }
    return Architecture.from_hf(config)


def _hf_name(uri: str, name: str) -> str:
    parts = name.split(".")
    if len(parts) == 2 and parts[0] in _TOP_NAMES:
        return f"{_TOP_NAMES[parts[0]]}.{parts[1]}"
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK_NAMES:
        return f"model.layers.{parts[1]}.{_BLOCK_NAMES[parts[2]]}.{parts[3]}"
    raise SourceError(
        f"--source {uri!r}: tensor {name!r} is not part of the plain Llama layout; use another model"
    )


def _unpermute(name: str, values: np.ndarray, architecture: Architecture) -> np.ndarray:
    """GGUF interleaves the two rotary halves of each query and key head; our decoder keeps them apart."""
    heads = {"attn_q": architecture.heads, "attn_k": architecture.kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return values
    pairs = values.reshape(heads, architecture.head_dim // 2, 2, values.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _tokenizer(uri: str, fields: dict[str, Any]) -> Tokenizer:
    kind = (fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm") or fields.get("tokenizer.ggml.add_bos_token", False):
        raise SourceError(
            f"--source {uri!r}: tokenizer {kind!r}, or its start token, is not rebuilt here; known is "
            "('gpt2', 'smollm') without one; publish from an exported folder, which has a tokenizer.json"
        )
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    # smollm splits every digit off before the usual byte-level rule
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    config = {
        f"{role}_token": tokens[fields[f"tokenizer.ggml.{theirs}_token_id"]]
        for role, theirs in _ROLES.items()
        if f"tokenizer.ggml.{theirs}_token_id" in fields
    }
    if "tokenizer.chat_template" in fields:
        config["chat_template"] = fields["tokenizer.chat_template"]
    return config
