"""Prepared tokens as a run reads them: shards mapped into memory, seen as one long array."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.manifest import ManifestError, manifest_digest, verify_manifest
from workloads.remote import fetch
from workloads.training.flags import ConfigError

SIDES = ("training", "held_out")


def shard_name(side: str, number: int) -> str:
    return f"{side}-{number:05d}.bin"


class ShardedTokens:
    """Shards laid end to end; nothing is read before it is asked for."""

    def __init__(self, shards: list[NDArray]) -> None:
        self.shards = shards
        self.ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, wanted: NDArray[np.int64] | slice) -> NDArray:
        """The tokens at these places, in the shape of `wanted`; a slice counts in steps of one."""
        if isinstance(wanted, slice):
            wanted = np.arange(*wanted.indices(len(self)))
        shard = np.searchsorted(self.ends, wanted, side="right")
        found = np.empty(wanted.shape, dtype=self.shards[0].dtype)
        for number in np.unique(shard):
            here = shard == number
            begins = self.ends[number] - len(self.shards[number])
            found[here] = self.shards[number][wanted[here] - begins]
        return found


def is_prepared(folder: Path) -> bool:
    """Whether `prepare` published this folder, going by what is left of it."""
    return (folder / "manifest.json").exists() or any(folder.glob("training-*.bin"))


def fetched(uri: str, expected_digest: str) -> Path:
    """A prepared folder of an object store as one of this machine: one of its workers fetches, the others wait.

    Raises ConfigError when it is not whole, or the digest is not `expected_digest` (where given); RemoteError.
    """
    try:
        return fetch(uri, expected_digest)
    except ManifestError as error:
        raise ConfigError(
            f"data={uri!r}: {error}; a run reads from object stores what `python -m workloads.training.prepare "
            f"--output {uri}` published there, text must be prepared first"
        ) from error


def open_shards(folder: Path, expected_digest: str) -> tuple[str, dict[str, Any], dict[str, ShardedTokens]]:
    """Digest, index and the two sides of a prepared folder, every byte of it checked against its manifest.

    Each worker reads it all once at its start: a stamp that spared this would have to be trusted as the data is.
    Raises ConfigError when a file is missing or altered, or the digest is not `expected_digest` (where given).
    """
    try:
        index = verify_manifest(folder, expected_digest or None).get("data")
    except ManifestError as error:
        raise ConfigError(
            f"data={str(folder)!r}: {error}; nothing is trained on data that is not what was prepared, "
            "python -m workloads.training.prepare makes it anew"
        ) from error
    if not isinstance(index, dict):
        raise ConfigError(
            f"data={str(folder)!r}: is the folder of a model; give one that `prepare` published"
        )
    sides = {
        side: ShardedTokens(
            [
                np.memmap(folder / shard_name(side, number), dtype=index["dtype"], mode="r", shape=(tokens,))
                for number, tokens in enumerate(index[side]["shards"])
            ]
        )
        for side in SIDES
    }
    return manifest_digest(folder), index, sides
