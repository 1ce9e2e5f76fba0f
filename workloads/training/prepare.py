"""Turn text into token shards that a run maps into memory: once, whatever the number of runs and workers.

The standard library's own sources, as bytes:
    python -m workloads.training.prepare --output out/data --pattern '*.py'
JSON lines in a bucket, with a tokenizer of your own:
    python -m workloads.training.prepare --source s3://bucket/corpus --pattern '*.jsonl.gz' --field text \\
        --tokenizer tokenizer.json --output s3://bucket/prepared
Then: python -m workloads.training.train --data out/data

The folder holds shards of token ids (`training-00000.bin`, `held_out-00000.bin`, ..., little-endian), the tokenizer,
and a manifest with the digest of each file, the index of the shards and the counts. It appears whole or not at all.
Files whose names begin with `.` or `_`, or that lie in folders named so, are left out and counted; a pattern that
begins so asks for them.
The last line on stdout is the result as JSON. Exit codes: 0 published, 2 a setting cannot be used, 1 anything else.
"""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workloads.manifest import OutputRefused, write_manifest
from workloads.remote import RemoteError, check_apart, check_output, publishing
from workloads.training.config import place, shown
from workloads.training.documents import REFUSE, SKIP, documents, sides
from workloads.training.flags import ConfigError, read_flags
from workloads.training.shards import SIDES, shard_name
from workloads.training.tokenizer import TextTokenizer, load_tokenizer
from workloads.training.tokens import END_OF_TEXT_NAME


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    output: str = "out/data"  # the folder to publish: a path, file://, s3:// or gs:// address
    source: str = ""  # any address that fsspec reaches; empty is Python's standard library
    pattern: str = "*"  # which file names count
    field: str = "text"  # where JSON lines, CSV and Parquet keep the text
    unusable: str = (
        REFUSE  # what a record without a text does: "refuse" the source, or "skip" it and count it
    )
    tokenizer: str = "bytes"  # or the path of a tokenizer.json
    end_of_text: str = END_OF_TEXT_NAME  # the tokenizer's token between documents
    shard_tokens: int = 100_000_000  # tokens in a shard; some hundred MB are moved and checked in one go


def main(arguments: Sequence[str]) -> int:
    try:
        [values], problems = read_flags("workloads.training.prepare", arguments, PrepareConfig)
        config = PrepareConfig(**values)
        if config.shard_tokens < 1:
            problems.append(f"shard_tokens={config.shard_tokens}: must be at least 1")
        if config.unusable not in (REFUSE, SKIP):
            problems.append(f"unusable={config.unusable!r}: must be {REFUSE} or {SKIP}")
        if problems:
            raise ConfigError(*problems)
        output = place("output", config.output)
        check_apart(config.output, source=config.source)
        check_output(output)
        print(json.dumps({"output": shown(output), **prepare(config, output)}))
    except (ConfigError, OutputRefused) as error:
        print(f"workloads.training.prepare: {error}", file=sys.stderr)
        return 2
    except (RemoteError, OSError) as error:
        remedy = "" if isinstance(error, RemoteError) else "; make room, or give another place"
        print(f"workloads.training.prepare: output: {error}{remedy}", file=sys.stderr)
        return 1
    return 0


def prepare(config: PrepareConfig, output: Path | str) -> dict[str, object]:
    """Publish the shards at `output`; the digest and the counts, also of what was left out and why.

    Raises ConfigError, RemoteError; then nothing is left.
    """
    left_out: Counter[str] = Counter()
    found = documents(config.source, config.pattern, config.field, left_out, config.unusable)
    tokenizer = load_tokenizer(config.tokenizer, config.end_of_text)
    dtype = np.dtype("<u2" if tokenizer.vocabulary <= 1 << 16 else "<u4")
    end = np.array([tokenizer.end_of_text], dtype=dtype)
    with publishing(output) as partial:
        with ExitStack() as stack:
            writers = [
                stack.enter_context(ShardWriter(partial, side, config.shard_tokens, end)) for side in SIDES
            ]
            for held_out, length, ids in _encoded(tokenizer, sides(found)):
                writers[held_out].document(ids.astype(dtype), length)
        if sum(side.documents for side in writers) == 0:
            raise ConfigError(
                f"source={config.source!r}, pattern={config.pattern!r}: no document was found; give a source with "
                f"text or widen the pattern{_told(left_out)}"
            )
        if not all(side.bytes for side in writers):
            raise ConfigError(
                f"source={config.source!r}, pattern={config.pattern!r}: has too little text to hold some out and learn "
                f"from the rest; give more text{_told(left_out)}"
            )
        (partial / "tokenizer.json").write_text(tokenizer.file, encoding="utf-8")
        index = {
            "dtype": dtype.str,
            "vocabulary": tokenizer.vocabulary,
            "end_of_text": tokenizer.end_of_text,
            "end_of_text_name": tokenizer.end_of_text_name,
            **{side.name: side.counts() for side in writers},
        }
        digest = write_manifest(partial, data=index)
    return {"digest": digest, **{side.name: side.counts() for side in writers}, "left_out": dict(left_out)}


def _encoded(
    tokenizer: TextTokenizer, found: Iterable[tuple[bool, str, bytes]]
) -> Iterator[tuple[bool, int, NDArray]]:
    """Side, bytes and ids of each document. Raises ConfigError for one that is no UTF-8."""
    ahead: deque[tuple[bool, str, int]] = deque()  # many documents are read before the first one's ids come

    def contents() -> Iterator[bytes]:
        for held_out, name, content in found:
            ahead.append((held_out, name, len(content)))
            yield content

    try:
        for ids in tokenizer.encode(contents()):
            held_out, _, length = ahead.popleft()
            yield held_out, length, ids
    except UnicodeDecodeError as error:
        _, name, _ = ahead[-1]
        raise ConfigError(f"source: {name} is no UTF-8 ({error}); mend it or prepare bytes") from error


def _told(left_out: Counter[str]) -> str:
    return f"; left out were {json.dumps(left_out)}" if left_out else ""


class ShardWriter:
    """One side's tokens, cut into files of `size`: an end of text, then each document and an end behind it."""

    def __init__(self, folder: Path, name: str, size: int, end: NDArray) -> None:
        self.name, self.folder, self.size, self.end = name, folder, size, end
        self.shards: list[int] = []  # tokens in each
        self.documents = self.bytes = 0
        self._out = None

    def __enter__(self) -> "ShardWriter":
        self._write(self.end)
        return self

    def __exit__(self, *_: object) -> None:
        if self._out:
            self._out.close()

    def document(self, ids: NDArray, length: int) -> None:
        """Add a document of so many bytes."""
        self.documents += 1
        self.bytes += length
        self._write(ids)
        self._write(self.end)

    def counts(self) -> dict[str, object]:
        return {"shards": self.shards, "documents": self.documents, "bytes": self.bytes}

    def _write(self, ids: NDArray) -> None:
        for room, part in self._parts(ids):
            if room == self.size:
                self.__exit__()
                self._out = open(self.folder / shard_name(self.name, len(self.shards)), "wb")  # noqa: SIM115
                self.shards.append(0)
            assert self._out
            self._out.write(part.tobytes())
            self.shards[-1] += len(part)

    def _parts(self, ids: NDArray) -> Iterator[tuple[int, NDArray]]:
        """The ids in pieces that fit, each with the room that there is for it; a full shard's room is a new one's."""
        while len(ids):
            room = self.size - (self.shards[-1] % self.size if self.shards else 0)
            yield room, ids[:room]
            ids = ids[room:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
