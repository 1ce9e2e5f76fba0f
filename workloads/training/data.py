"""What a run learns from and what it is judged by: prepared shards, or a folder of text read as bytes into memory.

Real text is on every machine: without a folder it is the Python standard library's own sources. Documents are split
into a training and a held-out side by a hash of their names: none is on both sides, and adding some never moves one
across. Left out: near-duplicates (licence headers, tests copied from one another) are not looked for, so held-out means
"unseen document", not "unseen idea".
"""

import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, inf
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workloads.held_out import HELD_OUT_PERCENT
from workloads.training.config import TrainConfig, place
from workloads.training.documents import documents, sides
from workloads.training.flags import ConfigError
from workloads.training.shards import ShardedTokens, fetched, is_prepared, open_shards
from workloads.training.tokenizer import BYTES, TextTokenizer, load_tokenizer
from workloads.training.tokens import END_OF_TEXT, END_OF_TEXT_NAME

Tokens = (
    NDArray | ShardedTokens
)  # one dimension: an end of text, then each document's ids and an end of text behind it


@dataclass(frozen=True)
class Corpus:
    training: Tokens
    held_out: Tokens
    documents: tuple[int, int]  # how many are on each side
    held_out_bytes: int  # of text, ends of text not counted
    digest: str  # "sha256:<hex>" of the manifest, or over every file's relative path and content
    tokenizer: TextTokenizer
    left_out: Counter[str] = field(default_factory=Counter)  # files of text that were not read, by reason

    @property
    def bytes_per_token(self) -> float:
        """The held-out side's mean, ends of text not counted; infinite where its text became no token."""
        tokens = len(self.held_out) - self.documents[1] - 1
        return self.held_out_bytes / tokens if tokens else inf


def load_corpus(config: TrainConfig) -> Corpus:
    """The data that the settings name.

    Raises ConfigError when it cannot be read, is not what it should be, is too short for one window on either side, or
    has other token ids than the model; RemoteError.
    """
    root = place("data", config.data) if config.data else Path(sysconfig.get_paths()["stdlib"])
    if isinstance(root, str):
        root = fetched(root, config.data_digest)
    if not root.is_dir():
        raise ConfigError(
            f"data={str(root)!r}: must be an existing folder; give one, or leave data out for the standard library"
        )
    prepared = is_prepared(root)
    source = str(root) if config.data else ""
    corpus = _prepared(root, config.data_digest) if prepared else _text(source, config.pattern)
    context, vocabulary = config.model.context, config.model.vocabulary
    for name, tokens, count in (
        ("training", corpus.training, corpus.documents[0]),
        ("held-out", corpus.held_out, corpus.documents[1]),
    ):
        if len(tokens) <= context:
            raise ConfigError(
                f"data={str(root)!r}, pattern={config.pattern!r}: the {name} side has {len(tokens)} tokens from "
                f"{count} documents, one window needs {context + 1}; give more text in more files "
                f"({HELD_OUT_PERCENT}% of them are held out, chosen by their names), widen the pattern, or lower the "
                "context"
            )
    if not corpus.held_out_bytes:
        raise ConfigError(
            f"data={str(root)!r}: the {corpus.documents[1]} held-out documents are all empty, and the model would be "
            f"judged by nothing; give more text in more files ({HELD_OUT_PERCENT}% of them are held out)"
        )
    if not _scores_text(corpus, context, config.evaluation_bytes):
        raise ConfigError(
            f"evaluation_bytes={config.evaluation_bytes}: the held-out windows of context={context} that would be "
            f"scored hold no text: the {corpus.documents[1]} held-out documents are nearly all empty; raise it, or "
            "give more text"
        )
    ids = corpus.tokenizer.vocabulary
    # a model that was given has the padding that its maker chose; its tokenizer is compared with the data's
    if not ids <= vocabulary or (vocabulary >= ids + PADDING and not config.init):
        remedy = f"set --vocabulary {ids}, or prepare" if not config.init else "prepare"
        raise ConfigError(
            f"vocabulary={vocabulary}: the data has {ids} token ids; the model needs as many, and at most "
            f"{PADDING - 1} more for its matrices' tiles: {remedy} the data with the tokenizer that the model is meant "
            "for"
        )
    return corpus


PADDING = 128


def _scores_text(corpus: Corpus, context: int, at_least_bytes: int) -> bool:
    """Whether a window that is scored holds a token of text."""
    if corpus.bytes_per_token == inf:
        return False
    starts = evaluation_starts(len(corpus.held_out), context, ceil(at_least_bytes / corpus.bytes_per_token))
    end, at_once = corpus.tokenizer.end_of_text, 1024
    parts = (starts[at : at + at_once] for at in range(0, len(starts), at_once))
    return any(bool((windows(corpus.held_out, part, context)[:, 1:] != end).any()) for part in parts)


def _prepared(folder: Path, expected_digest: str) -> Corpus:
    digest, index, sides = open_shards(folder, expected_digest)
    tokenizer = TextTokenizer(
        vocabulary=index["vocabulary"],
        end_of_text=index["end_of_text"],
        end_of_text_name=index["end_of_text_name"],
        file=(folder / "tokenizer.json").read_text(encoding="utf-8"),
    )
    counts = (index["training"]["documents"], index["held_out"]["documents"])
    return Corpus(sides["training"], sides["held_out"], counts, index["held_out"]["bytes"], digest, tokenizer)


def _text(source: str, pattern: str) -> Corpus:
    texts: tuple[list[bytes], list[bytes]] = ([], [])
    digest, left_out = hashlib.sha256(), Counter[str]()

    def found() -> Iterator[tuple[str, bytes]]:
        for name, content in documents(source, pattern, "text", left_out):
            digest.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
            yield name, content

    for held_out, _, content in sides(found()):
        texts[held_out].append(content)
    training, held_out = map(_join, texts)
    return Corpus(
        training,
        held_out,
        (len(texts[0]), len(texts[1])),
        sum(map(len, texts[1])),
        f"sha256:{digest.hexdigest()}",
        load_tokenizer(BYTES, END_OF_TEXT_NAME),
        left_out,
    )


def evaluation_starts(tokens: int, context: int, at_least: int) -> NDArray[np.int64]:
    """Starts of non-overlapping windows spread evenly over so many tokens: `at_least` targets, or all."""
    available = (tokens - 1) // context
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
