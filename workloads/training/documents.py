"""The documents under any address that fsspec reaches: files of text, lines of JSON, rows of Parquet.

A document has a name that does not depend on where its source lies: the file's relative path, and for one of many in a
file, its number after a `#`. Documents come in the order of their names' files, so two readings of the same source are
the same. Left out: near-duplicates are not looked for.
"""

import json
import sysconfig
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any, BinaryIO, cast

from fsspec.core import url_to_fs

from workloads.training.flags import ConfigError

INSTALLED = {
    "site-packages",
    "dist-packages",
}  # differ between machines, so they are not the standard library


UNREAD = {
    ".json": "write it as lines of JSON, .jsonl",
    **dict.fromkeys((".zst", ".lz4", ".zip", ".7z", ".tar"), "unpack it, or pack each file with gzip"),
}
"""Endings that hold text which is not read, and what to do about it."""


def documents(source: str, pattern: str, field: str) -> Iterator[tuple[str, bytes]]:
    """Name and UTF-8 text of every document under `source` (empty: Python's standard library).

    Files are those whose name matches `pattern`; what a file is, its ending says: .jsonl, .parquet, else plain text,
    each also with .gz, .bz2 or .xz behind; what is none of these is refused.
    `field` is the column of JSON lines and Parquet that holds the text.
    Raises ConfigError when the source cannot be reached or a file cannot be read.
    """
    shown = f"source={source!r}, pattern={pattern!r}"
    try:
        files, root = url_to_fs(source or sysconfig.get_paths()["stdlib"])
        paths = sorted(files.find(root))
    except Exception as error:
        raise ConfigError(
            f"{shown}: cannot be listed ({_words(error)}); give a folder or object prefix that exists and that "
            "this machine may read"
        ) from error
    for path in paths:
        relative = path.removeprefix(root).lstrip("/") or path.rpartition("/")[2]
        parts = relative.split("/")
        if not fnmatch(parts[-1], pattern) or INSTALLED & set(parts):
            continue
        try:
            with files.open(path, "rb", compression="infer") as stream:
                yield from _read(relative, cast(BinaryIO, stream), field)
        except Exception as error:  # every store and every compression has exceptions of its own
            raise ConfigError(
                f"{shown}: cannot read {relative} ({_words(error)}); repair it, make it readable or narrow the pattern"
            ) from error


def _read(relative: str, stream: BinaryIO, field: str) -> Iterator[tuple[str, bytes]]:
    plain = relative.rsplit(".", 1)[0] if relative.endswith((".gz", ".bz2", ".xz")) else relative
    if plain.endswith(".jsonl"):
        for number, line in enumerate(stream):
            if line.strip():
                yield f"{relative}#{number}", _text(_parsed(line, number + 1), f"line {number + 1}", field)
    elif plain.endswith(".parquet"):
        from pyarrow import parquet  # takes half a second, and few need it

        table = parquet.ParquetFile(stream)
        if field not in table.schema_arrow.names:
            raise ValueError(f"has no column {field!r} but {', '.join(table.schema_arrow.names)}; set field")
        number = 0
        for batch in table.iter_batches(columns=[field]):
            for row in batch.to_pylist():
                yield f"{relative}#{number}", _text(row, f"row {number}", field)
                number += 1
    else:
        text = stream.read()
        ending = plain[plain.rfind(".") :]
        if ending in UNREAD or b"\0" in text:
            remedy = UNREAD.get(ending, "it holds zero bytes, so it is no text")
            raise ValueError(
                f"read are .jsonl, .parquet and plain text, each also with .gz, .bz2 or .xz behind: {remedy}"
            )
        yield relative, text


def _parsed(line: bytes, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _text(record: Any, where: str, field: str) -> bytes:
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        found = ", ".join(record) if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"{where} has no text in {field!r}, it has {found}; set field or mend the line")
    return record[field].encode()


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
