"""Reading the model that is to be published: an exported folder, or a GGUF file inside an installed package.

Both end as the same thing: fp32 tensors under Hugging Face names, an architecture, and a tokenizer.
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
from safetensors.torch import load_file
from tokenizers import Tokenizer

from workloads.manifest import MANIFEST, manifest_digest, verify_manifest
from workloads.remote import fetch, is_remote, open_address
from workloads.serving.architecture import Architecture


class SourceError(Exception):
    """The source cannot be read; the message names the flag, the value, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model in memory. `tensors` are fp32; `digest` is `sha256:<hex>` of what was read."""

    name: str
    digest: str
    architecture: Architecture
    tensors: dict[str, torch.Tensor]
    tokenizer: str
    tokenizer_config: dict[str, Any]


def local_path(uri: str, flag: str) -> Path:
    """The path of a plain path or `file:///` URI. Raises SourceError, naming `flag`, for any other scheme."""
    parts = urlsplit(uri)
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
    if uri.startswith("package://"):
        from workloads.serving.source_gguf import (
            read_gguf,  # needs the gguf package, which folders do not
        )

        return read_gguf(uri, _package_file(uri))
    named = place(uri, "--source")
    if isinstance(named, str):
        return replace(_read_folder(fetch(named)), name=named.rpartition("/")[2])
    return _read_folder(named)


def check_tensors(architecture: Architecture, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`tensors` in fp32, exactly those `architecture` needs. Raises SourceError naming the first misfit."""
    shapes = architecture.tensor_shapes()
    if architecture.tied_output:
        tensors.pop("lm_head.weight", None)  # some exporters write the tied matrix twice
    for name in sorted(shapes.keys() ^ tensors.keys()):
        known = "missing" if name in shapes else "not part of the Llama layout"
        raise SourceError(f"tensor {name!r} is {known}; export the model with its config again")
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise SourceError(
                f"tensor {name!r} has shape {tuple(tensors[name].shape)}, config.json asks for {shape}; "
                "export weights and config together"
            )
    return {name: tensors[name].to(torch.float32).contiguous() for name in shapes}


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
    config, tokenizer_config = _json(folder / "config.json"), _json(folder / "tokenizer_config.json")
    architecture = Architecture.from_hf(config)
    weights, tokenizer = folder / "model.safetensors", folder / "tokenizer.json"
    for path in (weights, tokenizer):
        if not path.is_file():
            raise SourceError(
                f"--source {str(folder)!r}: {path.name} is missing; export the whole folder again"
            )
    template = folder / "chat_template.jinja"  # where newer exporters keep what was a tokenizer_config field
    if template.is_file():
        tokenizer_config["chat_template"] = template.read_text(encoding="utf-8")
    tensors = check_tensors(architecture, load_file(weights))
    text = tokenizer.read_text(encoding="utf-8")
    _check_tokenizer(text, architecture.vocab_size)
    return Source(folder.resolve().name, digest, architecture, tensors, text, tokenizer_config)


def _check_tokenizer(text: str, vocab_size: int) -> None:
    try:
        size = Tokenizer.from_str(text).get_vocab_size()
    except Exception as error:  # the library raises nothing narrower
        raise SourceError(f"tokenizer.json cannot be read ({error}); export the folder again") from error
    if size > vocab_size:
        raise SourceError(
            f"tokenizer.json has {size} tokens, config.json has vocab_size {vocab_size}; export both again"
        )


def _package_file(uri: str) -> Path:
    """The file behind package://NAME/FILE, found without importing NAME, whose own imports may be absent."""
    package, _, file = uri.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"--source {uri!r}: no package {package!r} is installed; write package://NAME/FILE.gguf"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not file.endswith(".gguf") or not (folder / file).is_file() or ".." in Path(file).parts:
        known = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "none"
        raise SourceError(f"--source {uri!r}: no GGUF file {file!r} in that package; it holds: {known}")
    return folder / file


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


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(
            f"--source: {path} cannot be read ({error.strerror}); export the folder again"
        ) from error
    except ValueError as error:
        raise SourceError(f"--source: {path} is not JSON ({error}); export the folder again") from error
    if not isinstance(found, dict):
        raise SourceError(
            f"--source: {path} holds {type(found).__name__}, not an object; export the folder again"
        )
    return found
