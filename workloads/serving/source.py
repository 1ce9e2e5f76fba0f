"""Reading the model that is to be published: a folder in Hugging Face's layout (a Llama decoder or a BERT encoder, its
weights in one safetensors file or several with an index), or a GGUF file; either may lie in an installed package.

All end as the same thing: fp32 tensors under Hugging Face names, an architecture, and a tokenizer.
"""

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from workloads.manifest import MANIFEST, ManifestError, manifest_digest, verify_manifest
from workloads.remote import RemoteError, fetch, is_remote, open_address
from workloads.serving.architecture import Architecture, UnsupportedModel
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.source_tokenizer import answering, whole_texts

_UNUSED = ("pooler.", "embeddings.position_ids")
_INDEX = "model.safetensors.index.json"


class SourceError(Exception):
    """The source cannot be read; the message names the flag, the value, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model in memory. `tensors` are fp32; `digest` is `sha256:<hex>` of what was read."""

    name: str
    digest: str
    architecture: Architecture | EncoderArchitecture
    tensors: dict[str, torch.Tensor]
    tokenizer: str
    """Of its own it neither cuts nor pads a text."""
    tokenizer_config: dict[str, Any]
    """Once it was read: special tokens and chat template, as text."""


def local_path(uri: str, flag: str) -> Path:
    """The path of a plain path or `file:///` URI. Raises SourceError, naming `flag`, for any other scheme."""
    parts = urlsplit(uri)
    if not uri or uri.rstrip("/") == "file:":
        raise SourceError(f"{flag} {uri!r}: names no folder; give its path")
    if not parts.scheme:
        return Path(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise SourceError(
            f"{flag} {uri!r}: a folder is a path, file:///path, s3://bucket/folder or gs://bucket/folder; "
            "mount or copy any other folder first"
        )
    return Path(unquote(parts.path))


def place(uri: str, flag: str) -> Path | str:
    """The absolute local folder, or the object store's address, that `flag` names. Raises SourceError for others."""
    if not is_remote(uri):
        return Path(os.path.abspath(local_path(uri, flag)))
    try:
        open_address(uri)
    except (ValueError, ImportError) as error:
        raise SourceError(f"{flag}: {error}") from error
    return uri.rstrip("/")


def read_source(uri: str) -> Source:
    """Read `uri`. Raises SourceError, ManifestError (altered since its export), UnsupportedModel or RemoteError."""
    named = _package_path(uri) if uri.startswith("package://") else place(uri, "--source")
    try:
        source = _read(uri, named)
        return replace(
            source,
            tokenizer=whole_texts(source.tokenizer, source.architecture.vocab_size),
            tokenizer_config=answering(source.tokenizer_config),
        )
    except (SourceError, UnsupportedModel, ManifestError, RemoteError, MemoryError, ImportError):
        raise
    except Exception as error:  # a damaged file leads its reader into whatever error comes first
        raise SourceError(
            f"--source {uri!r}: cannot be read ({type(error).__name__}: {error}); copy it again, or export it again"
        ) from error


def _read(uri: str, named: Path | str) -> Source:
    if isinstance(named, str):
        return replace(_read_folder(fetch(named)), name=named.rpartition("/")[2])
    if named.suffix == ".gguf" and named.is_file():
        from workloads.serving.source_gguf import read_gguf  # needs the gguf package, which folders do not

        return read_gguf(uri, named)
    return _read_folder(named)


def check_tensors(
    architecture: Architecture | EncoderArchitecture, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """`tensors` in fp32, exactly those `architecture` needs. Raises SourceError naming the first misfit."""
    shapes = architecture.tensor_shapes()
    if isinstance(architecture, EncoderArchitecture):
        # the pooler is for classification, and positions count from zero anyway
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_UNUSED)}
    elif architecture.tied_output:
        tensors.pop("lm_head.weight", None)  # some exporters write the tied matrix twice
    for name in sorted(shapes.keys() ^ tensors.keys()):
        known = "missing" if name in shapes else "not part of the layout that is computed"
        raise SourceError(f"tensor {name!r} is {known}; export the model with its config again")
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise SourceError(
                f"tensor {name!r} has shape {tuple(tensors[name].shape)}, config.json asks for {shape}; "
                "export weights and config together"
            )
    made = {name: tensors[name].to(torch.float32).contiguous() for name in shapes}
    for name, tensor in made.items():
        if bad := tensor.numel() - int(tensor.isfinite().sum()):
            raise SourceError(
                f"tensor {name!r} holds {bad} of {tensor.numel()} values that are no number or infinite; its training "
                "has failed: export an earlier checkpoint"
            )
    return made


def _read_folder(folder: Path) -> Source:
    if not folder.is_dir():
        raise SourceError(
            f"--source {str(folder)!r}: no such folder; give a folder that a training run exported"
        )
    if (folder / MANIFEST).is_file():
        verify_manifest(folder)
        digest = manifest_digest(folder)
    else:
        digest = _folder_digest(folder)
    architecture = _architecture(folder, _json(folder / "config.json"))
    tokenizer_config = _json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"  # where newer exporters keep what was a tokenizer_config field
    if template.is_file():
        tokenizer_config["chat_template"] = _text(template)
    tokens = folder / "special_tokens_map.json"  # where older exporters kept them
    if tokens.is_file():
        tokenizer_config = _json(tokens) | tokenizer_config
    tokenizer = _text(folder / "tokenizer.json")
    tensors = check_tensors(architecture, _weights(folder))
    return Source(folder.resolve().name, digest, architecture, tensors, tokenizer, tokenizer_config)


def _architecture(folder: Path, config: dict[str, Any]) -> Architecture | EncoderArchitecture:
    def beside(name: str) -> dict[str, Any]:
        return _json(folder / name) if (folder / name).is_file() else {}

    if config.get("architectures") != ["BertModel"]:
        return Architecture.from_hf(config, beside("generation_config.json"))
    return EncoderArchitecture.from_hf(
        config, beside("sentence_bert_config.json"), beside("1_Pooling/config.json")
    )


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of model.safetensors, or of all the files that the index names."""
    index = folder / _INDEX
    names = {"model.safetensors"}
    if index.is_file() and not (folder / "model.safetensors").is_file():
        names = set(_json(index).get("weight_map", {}).values())
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(names):
        path = folder / Path(name).name  # the index names files beside it, never others
        if not path.is_file():
            raise SourceError(
                f"--source {str(folder)!r}: {path.name} is missing; export the whole folder again"
            )
        try:
            tensors |= load_file(path)
        except SafetensorError as error:
            raise SourceError(f"--source: {path} cannot be read ({error}); copy the file again") from error
    return tensors


def _package_path(uri: str) -> Path:
    """What is behind package://NAME/PATH, found without importing NAME, whose own imports may be absent."""
    package, _, inside = uri.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"--source {uri!r}: no package {package!r} is installed; write package://NAME/FILE.gguf or "
            "package://NAME/FOLDER"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    models = [path.relative_to(root) for path in (*root.glob("*.gguf"), *root.glob("*/config.json"))]
    known = sorted(str(path.parent if path.name == "config.json" else path) for path in models)
    if inside not in known:
        raise SourceError(
            f"--source {uri!r}: no model {inside!r} in that package; it holds: {', '.join(known) or 'none'}"
        )
    return root / inside


def _folder_digest(folder: Path) -> str:
    """Names a folder that has no manifest: the hash over each file's name and hash."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            whole.update(f"{path.name} {file_digest(path)}\n".encode())
    return "sha256:" + whole.hexdigest()


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of the bytes of `path`."""
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"--source: {path} cannot be read ({why}); export the folder again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise SourceError(f"--source: {path} is not JSON ({error}); export the folder again") from error
    if not isinstance(found, dict):
        raise SourceError(
            f"--source: {path} holds {type(found).__name__}, not an object; export the folder again"
        )
    return found
