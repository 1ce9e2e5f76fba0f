"""Begin from the weights of a model folder in Hugging Face's Llama layout instead of drawn ones: fine-tuning.

The folder is one of this machine, or a published one (with its manifest) in an object store. It holds config.json,
the weights as safetensors, whole or in shards with an index, and may hold tokenizer.json. What the model here would
compute otherwise is refused by the field that asks for it.
"""

import hashlib
import json
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from workloads.manifest import MANIFEST, ManifestError, manifest_digest, verify_manifest
from workloads.remote import fetch
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.tokenizer import TextTokenizer

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

SIZES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "hidden": "intermediate_size",
    "context": "max_position_embeddings",
    "tied": "tie_word_embeddings",
    "norm_eps": "rms_norm_eps",
    "vocabulary": "vocab_size",
}
"""Fields of ModelConfig, and what config.json calls them."""

DEFAULTS = {
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
}  # transformers' LlamaConfig
ONLY = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""Fields of config.json, and the one value of each that the model here computes."""
KINDS: dict[Any, tuple[Any, str]] = {
    int: (lambda value: type(value) is int and value >= 1, "a whole number from 1"),
    float: (lambda value: type(value) in (int, float) and 0 < value < inf, "a number above 0"),
    bool: (lambda value: type(value) is bool, "true or false"),
    dict: (lambda value: value is None or type(value) is dict, "an object or null"),
}
"""What a value of each kind is."""
OTHERS = {"rope_scaling": dict, "rope_parameters": dict, "rope_theta": float, "head_dim": int}
"""Fields of config.json that may be missing, and the kind of each."""


def open_folder(named: Path | str) -> Path:
    """The folder `named`, a path or an object store's address, on this machine. Raises ConfigError, RemoteError."""
    try:
        folder = fetch(named) if isinstance(named, str) else named
        if (folder / MANIFEST).exists():
            verify_manifest(folder)
    except ManifestError as error:
        raise ConfigError(
            f"init={str(named)!r}: {error}; a folder that nobody published with a manifest must lie on this machine"
        ) from error
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"init={str(named)!r}: must be a folder with {CONFIG} and safetensors; give one")
    return folder


def shape(folder: Path, given: dict[str, Any]) -> ModelConfig:
    """The shape that the folder's model has; a shorter context may be `given`, all else must agree with it.

    Raises ConfigError with every field of the folder, or of `given`, that does not fit.
    """
    try:
        theirs = {**DEFAULTS, **json.loads((folder / CONFIG).read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"init={str(folder)!r}: {CONFIG} is no JSON object ({error}); copy it again"
        ) from error
    heads = theirs.get("num_attention_heads")
    if theirs.get("num_key_value_heads") is None:
        theirs["num_key_value_heads"] = heads
    _refuse(folder, _of_another_kind(theirs))
    rope = {**(theirs.get("rope_scaling") or {}), **(theirs.get("rope_parameters") or {})}
    theirs |= {
        name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if rope.get(name) is not None
    }
    wrong = _of_another_kind(theirs)
    wrong += [
        f"{field}={theirs.get(field)!r}: must be {only!r}"
        for field, only in ONLY.items()
        if theirs.get(field, only if field != "model_type" else None) != only
    ]
    rope_type = rope.get("rope_type") or rope.get("type") or "default"
    if rope_type != "default":
        wrong.append(f"rope_type={rope_type!r}: must be 'default'")
    if (
        not wrong
        and (theirs.get("head_dim") or theirs["hidden_size"] // heads) * heads != theirs["hidden_size"]
    ):
        wrong.append(f"head_dim={theirs['head_dim']}: must be hidden_size / num_attention_heads")
    _refuse(folder, wrong)
    found = {ours: theirs[name] for ours, name in SIZES.items()}
    found["rope_theta"] = float(theirs.get("rope_theta") or 10_000.0)
    problems = [
        f"{name}={value!r}: the model of init={str(folder)!r} has {found[name]!r}; leave it out"
        for name, value in given.items()
        if value != found[name] and not (name == "context" and value < found[name])
    ]
    if problems:
        raise ConfigError(*problems)
    return ModelConfig(**{**found, **given})


def _of_another_kind(theirs: dict[str, Any]) -> list[str]:
    """Every field of config.json whose value is of another kind than the model's."""
    kinds: dict[str, Any] = {
        name: ModelConfig.__dataclass_fields__[ours].type for ours, name in SIZES.items()
    }
    kinds |= {name: kind for name, kind in OTHERS.items() if theirs.get(name) is not None}
    return [
        f"{name}={theirs.get(name)!r}: must be {KINDS[kind][1]}"
        for name, kind in kinds.items()
        if not KINDS[kind][0](theirs.get(name))
    ]


def _refuse(folder: Path, wrong: list[str]) -> None:
    if wrong:
        said = (
            f"init={str(folder)!r}: {CONFIG}: {each}; take a model in Llama's plain layout" for each in wrong
        )
        raise ConfigError(*said)


def begin(folder: Path, model: LanguageModel, tokenizer: TextTokenizer) -> str:
    """Give `model` the folder's weights; the folder's digest. Raises ConfigError when something does not fit."""
    check_tokenizer(folder, tokenizer)
    return load(folder, model)


def check_tokenizer(folder: Path, tokenizer: TextTokenizer) -> None:
    """Raises ConfigError when the folder has a tokenizer and its ids are others than the data's."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    theirs, ours = (
        Tokenizer.from_str(text).get_vocab(with_added_tokens=True)
        for text in (path.read_text(encoding="utf-8"), tokenizer.file)
    )
    if theirs != ours:
        differ = len(dict(theirs.items() ^ ours.items()))
        raise ConfigError(
            f"init={str(folder)!r}: its tokenizer and the data's differ in {differ} tokens; prepare the data with "
            f"--tokenizer {path}"
        )


@torch.no_grad()
def load(folder: Path, model: LanguageModel) -> str:
    """Copy the folder's weights into `model`; the folder's digest, its manifest's where it has one.

    Raises ConfigError when a weight is missing, of another shape, holds what is no number, or is none of the model's.
    """
    ours = dict(model.named_parameters())  # a tied head is not named twice
    missing, problems = set(ours), []
    files = _weight_files(folder)
    for file in files:
        try:
            with safe_open(folder / file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118  no mapping, only like one
                    own = name.removeprefix("model.")
                    if own.endswith("rotary_emb.inv_freq") or (own == "lm_head.weight" and model.config.tied):
                        continue  # computed here; or the embedding once more
                    value = weights.get_tensor(name)
                    if own not in ours or value.shape != ours[own].shape:
                        expected = list(ours[own].shape) if own in ours else "no such weight"
                        problems.append(f"{name} is {list(value.shape)}, the model has {expected}")
                    elif bad := value.numel() - int(value.isfinite().sum()):
                        problems.append(
                            f"{name} holds {bad} of {value.numel()} values that are no number or infinite"
                        )
                    else:
                        ours[own].copy_(value)
                    missing.discard(own)
        except (OSError, SafetensorError) as error:
            problems.append(f"{file} cannot be read ({error})")
    problems += [f"{name} is in no file" for name in sorted(missing)] if not problems else []
    if problems:
        raise ConfigError(*(f"init={str(folder)!r}: {each}; copy the folder again" for each in problems))
    if (folder / MANIFEST).exists():
        return manifest_digest(folder)
    return _digest(folder, [CONFIG, *files])


def _weight_files(folder: Path) -> list[str]:
    if not (folder / INDEX).exists():
        return [WEIGHTS]
    try:
        names = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(
            Path(name).name for name in names
        )  # whatever an index says, it leads to no other folder
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"init={str(folder)!r}: {INDEX} is no index of weights; copy it again") from error


def _digest(folder: Path, names: list[str]) -> str:
    """Over the names and contents of these files."""
    whole = hashlib.sha256()
    for name in names:
        with open(folder / name, "rb") as file:
            whole.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"
