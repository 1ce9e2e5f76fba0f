"""A published artifact as the folder that vLLM reads: a Hugging Face model. No weight is copied or converted."""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from workloads.manifest import ManifestError
from workloads.serving.architecture import Architecture
from workloads.serving.artifact import Artifact

DTYPES = {"none": "float32", "bf16": "bfloat16"}
"""Scheme -> vLLM's --dtype. Of the quantized ones vLLM knows the numbers but not our layout of scales and embedding:
they would have to be converted, and what answers would no longer be what the digest names."""


def check_readable(artifact: Artifact) -> str:
    """The dtype in which vLLM computes `artifact`. Raises ManifestError where it cannot read it."""
    artifact.architecture  # noqa: B018  refuses an encoder
    if artifact.scheme not in DTYPES:
        raise ManifestError(
            f"config.json: scheme is {artifact.scheme!r}; engine vllm reads {' and '.join(DTYPES)} only; publish the "
            "model as bf16 (vLLM quantizes it itself with --vllm-arguments='--quantization fp8'), or use --engine torch"
        )
    return DTYPES[artifact.scheme]


def lay_out(artifact: Artifact, weights: BinaryIO, folder: Path) -> str:
    """Write the model into `folder`, a new one; returns the dtype to compute in.

    Its weights are a link to `weights`, the open file that was verified; it lives as long as that is open. Raises
    ManifestError where vLLM cannot read the artifact.
    """
    dtype, shape = check_readable(artifact), artifact.architecture
    folder.mkdir()
    files: dict[str, dict[str, Any]] = {
        "config.json": {**llama_config(shape), "torch_dtype": dtype},
        # tells vLLM which tokens end an answer
        "generation_config.json": {"eos_token_id": list(shape.eos_token_ids)} if shape.eos_token_ids else {},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",  # tokenizer.json as it is; others would amend it
            "clean_up_tokenization_spaces": False,
            **artifact.tokenizer_config,  # special tokens and the chat template
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    (folder / "tokenizer.json").write_text(artifact.tokenizer, encoding="utf-8")
    (folder / "model.safetensors").symlink_to(f"/proc/{os.getpid()}/fd/{weights.fileno()}")
    return dtype


def llama_config(shape: Architecture) -> dict[str, Any]:
    """`shape` as a config.json of LlamaForCausalLM; Architecture.from_hf reads it back."""
    linear = {"rope_type": "linear", "factor": shape.rope_factor}
    rope = linear if shape.rope_factor != 1.0 else {"rope_type": "default"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context_length,
        "hidden_act": "silu",
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_parameters": {**rope, "rope_theta": shape.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": shape.tied_output,
        "eos_token_id": list(shape.eos_token_ids) or None,
    }
