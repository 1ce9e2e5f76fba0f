"""Opening a published folder: nothing is used before it was verified.

The weights are mapped, not read: servers on one machine share their pages. The bytes hashed are the very
bytes mapped, so replacing the file between check and use changes nothing. Rewriting the mapped file in place
would; publishing never does that, it renames whole folders.
"""

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from workloads.manifest import ManifestError, verify_manifest
from workloads.serving.architecture import Architecture
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.schemes import SCHEMES

WEIGHTS = "model.safetensors"
CANARY = "canary.json"
FORMAT = 2  # of config.json: what publish writes, and the only one this server knows


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified folder in memory. `weights` is the mapped safetensors file, `facts` the manifest."""

    shape: Architecture | EncoderArchitecture
    scheme: str
    weights: mmap.mmap
    tokenizer: str
    tokenizer_config: dict[str, Any]
    facts: dict[str, Any]
    canary: list[str]
    """Held-out text that the published model was measured on (canary.py); empty for an encoder."""

    @property
    def architecture(self) -> Architecture:
        """The shape of a decoder. Raises ManifestError for an encoder."""
        if isinstance(self.shape, Architecture):
            return self.shape
        raise ManifestError("config.json: expected a decoder, found an encoder; it answers embeddings only")

    @property
    def encoder(self) -> EncoderArchitecture:
        """The shape of an encoder. Raises ManifestError for a decoder."""
        if isinstance(self.shape, EncoderArchitecture):
            return self.shape
        raise ManifestError("config.json: expected an encoder, found a decoder; publish a BERT-layout model")


KINDS = {"decoder": Architecture, "encoder": EncoderArchitecture}  # by config.json's "kind"


def open_artifact(folder: Path, digest: str) -> Artifact:
    """Verify `folder` against `digest` (`sha256:<hex>` of its manifest) and open it.

    Raises ManifestError, naming file, expected, found and remedy, before anything of the folder is used.
    """
    facts = verify_manifest(folder, digest, hashed_later={WEIGHTS})
    weights = _mapped(folder, WEIGHTS, facts)
    texts = {
        name: _checked(folder, name, facts).decode()
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    config = json.loads(texts["config.json"])
    if (
        config.get("format") != FORMAT
        or config.get("scheme") not in SCHEMES
        or config.get("kind") not in KINDS
    ):
        raise ManifestError(
            f"{folder / 'config.json'}: expected format {FORMAT} and a scheme of {', '.join(SCHEMES)}, found "
            f"{config.get('format')!r} and {config.get('scheme')!r}; publish again with this version"
        )
    return Artifact(
        shape=KINDS[config["kind"]].from_dict(config["architecture"]),
        scheme=config["scheme"],
        weights=weights,
        tokenizer=texts["tokenizer.json"],
        tokenizer_config=json.loads(texts["tokenizer_config.json"]),
        facts=facts,
        canary=json.loads(_checked(folder, CANARY, facts))["texts"] if CANARY in facts["files"] else [],
    )


def hold(folder: Path, name: str, facts: Mapping[str, Any]) -> BinaryIO:
    """One verified file, open, for a process that reads by name: /proc/PID/fd/N is this file, whatever `folder` holds
    by then. Raises ManifestError."""
    file = open(folder / name, "rb")  # noqa: SIM115  the caller closes it
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _compare(folder, name, facts, content)
    return file


def _mapped(folder: Path, name: str, facts: Mapping[str, Any]) -> mmap.mmap:
    with _open(folder, name) as file:
        # a private mapping: writable as far as torch can tell, the file itself cannot change through it
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    _compare(folder, name, facts, content)
    return content


def _checked(folder: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    """The bytes of one file, hashed after reading: what was verified is what is used."""
    with _open(folder, name) as file:
        content = file.read()
    _compare(folder, name, facts, content)
    return content


def _open(folder: Path, name: str) -> BinaryIO:
    try:
        return open(folder / name, "rb")
    except OSError as error:
        raise ManifestError(
            f"{folder / name}: expected in a published model, not found; publish it again"
        ) from error


def _compare(folder: Path, name: str, facts: Mapping[str, Any], content: bytes | mmap.mmap) -> None:
    expected, found = facts["files"][name]["sha256"], hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ManifestError(
            f"{folder / name}: expected sha256 {expected}, found {found}; copy the folder again"
        )
