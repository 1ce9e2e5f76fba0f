"""Real text that is on every machine: the Python standard library's own sources, or any folder given instead.

Files are split into a training and a held-out side by a hash of their relative path: no file is on both
sides, and adding files never moves one across. Left out: near-duplicates between files (licence headers,
tests copied from one another) are not looked for, so held-out means "unseen file", not "unseen idea".
"""

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workloads.training.config import ConfigError, local_path
from workloads.training.tokens import END_OF_TEXT

HELD_OUT_PERCENT = 7
INSTALLED = {"site-packages", "dist-packages"}  # differ between machines, so they are not the corpus

Tokens = NDArray[np.uint16]  # one dimension: END_OF_TEXT, then each file's bytes followed by END_OF_TEXT


@dataclass(frozen=True)
class Corpus:
    training: Tokens
    held_out: Tokens
    files: tuple[int, int]  # how many files are on each side
    digest: str  # "sha256:<hex>" over every file's relative path and content


def is_held_out(relative: str) -> bool:
    """Whether the file at this relative POSIX path belongs to the held-out side; depends on nothing else."""
    return int.from_bytes(hashlib.sha256(relative.encode()).digest()[:8]) % 100 < HELD_OUT_PERCENT


def load_corpus(data: str, pattern: str, context: int) -> Corpus:
    """Read every file under `data` (empty: the standard library) whose name matches `pattern`.

    Raises ConfigError when a file cannot be read or a side is too short for one window of `context` tokens.
    """
    root = local_path("data", data) if data else Path(sysconfig.get_paths()["stdlib"])
    shown = f"data={str(root)!r}, pattern={pattern!r}"
    if not root.is_dir():
        raise ConfigError(
            f"{shown}: must be an existing folder; give one, or leave data out for the standard library"
        )
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob(pattern) if path.is_file()}
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    digest = hashlib.sha256()
    for relative in sorted(paths):
        if INSTALLED & set(relative.split("/")):
            continue
        try:
            content = paths[relative].read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{shown}: cannot read {relative} ({error.strerror}); make it readable or narrow the pattern"
            ) from error
        digest.update(f"{hashlib.sha256(content).hexdigest()}  {relative}\n".encode())
        sides[is_held_out(relative)].append(content)
    training, held_out = (_join(texts) for texts in sides)
    for name, tokens, texts in (("training", training, sides[0]), ("held-out", held_out, sides[1])):
        if len(tokens) <= context:
            raise ConfigError(
                f"{shown}: the {name} side has {len(tokens)} tokens from {len(texts)} files, one "
                f"window needs {context + 1}; give more text in more files ({HELD_OUT_PERCENT}% of the files "
                "are held out, chosen by their names), widen the pattern, or lower the context"
            )
    return Corpus(training, held_out, (len(sides[0]), len(sides[1])), f"sha256:{digest.hexdigest()}")


def batch(
    tokens: Tokens, context: int, sequences: int, seed: int, step: int, rank: int, world: int
) -> Tensor:
    """This rank's share of one step's global batch: (sequences / world, context + 1) token ids, int64.

    The global batch follows from (seed, step) alone and the ranks take its rows in order, so the same windows
    are learned from at the same step whatever the number of workers. `world` must divide `sequences`.
    """
    starts = np.random.default_rng((seed, step)).integers(0, len(tokens) - context, size=sequences)
    share = sequences // world
    return windows(tokens, starts[rank * share : (rank + 1) * share], context)


def evaluation_starts(tokens: Tokens, context: int, at_least: int) -> NDArray[np.int64]:
    """Starts of non-overlapping windows spread evenly over `tokens`: `at_least` targets, or all."""
    available = (len(tokens) - 1) // context
    wanted = min(available, -(-at_least // context))
    return np.arange(wanted, dtype=np.int64) * available // wanted * context


def windows(tokens: Tokens, starts: NDArray[np.int64], context: int) -> Tensor:
    """The `context` + 1 token ids from each of B `starts`, (B, context + 1) int64: inputs and targets."""
    index = starts[:, None] + np.arange(context + 1)  # (B, T + 1)
    return torch.from_numpy(tokens[index].astype(np.int64))


def _join(texts: list[bytes]) -> Tokens:
    tokens = np.full(1 + sum(len(text) + 1 for text in texts), END_OF_TEXT, dtype=np.uint16)
    at = 1
    for text in texts:
        tokens[at : at + len(text)] = np.frombuffer(text, dtype=np.uint8)
        at += len(text) + 1
    return tokens
