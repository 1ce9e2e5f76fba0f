"""The texts within one file: what a file is, its ending says, in small or capital letters."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

PACKED = (".gz", ".bz2", ".xz", ".lzma")
"""Endings behind the one that says what a file is; fsspec unpacks these with Python's own library."""

FORMATS = "read are .jsonl, .csv, .tsv, .parquet and plain text, each also with .gz, .bz2 or .xz behind"

REMEDIES = {
    ".json": "write it as lines of JSON, .jsonl",
    **dict.fromkeys((".geojson", ".ipynb"), "take the text out of its JSON, into .txt or .jsonl"),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro", ".tfrecord", ".xls", ".xlsx"), "write it as .parquet"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".rtf", ".ppt", ".pptx", ".epub"), "save its text as .txt"),
    **dict.fromkeys((".npy", ".npz", ".pkl", ".pickle", ".pt", ".safetensors"), "it holds no text"),
    **dict.fromkeys(
        (".zst", ".lz4", ".zip", ".7z", ".tar", ".tgz", ".tbz2", ".txz", ".br", ".snappy", ".rar", ".z"),
        "unpack it, or pack each file with gzip",
    ),
}  # fmt: skip
"""Endings of files that are not read, and what to do about each."""

Skipped = Callable[[str], None]
"""Told why a record is left out."""


class Unusable(ValueError):
    """A record without a text; `kind` says in one word why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def texts(path: str, stream: BinaryIO, field: str, skipped: Skipped | None) -> Iterator[tuple[str, bytes]]:
    """Name and UTF-8 text of each document in the file `path`, whose content is `stream`, unpacked.

    `skipped` hears of each record without a text, which is then left out; None lets Unusable through. Raises whatever
    a damaged file raises, and ValueError for a file that is not read.
    """
    plain = path.lower()
    for ending in PACKED:
        plain = plain.removesuffix(ending)
    ending = plain[plain.rfind(".") :]
    if ending not in RECORDS:
        text = stream.read()
        if ending in REMEDIES or b"\0" in text:
            remedy = REMEDIES.get(ending, "it holds zero bytes, so it is no text")
            raise ValueError(f"{FORMATS}: {remedy}")
        yield path, text
        return
    where = WORDS.get(ending, "line")
    for number, place, record in RECORDS[ending](stream, field):
        try:
            yield f"{path}#{number}", text_of(record, f"{where} {place}", field)
        except Unusable as reason:
            if skipped is None:
                raise
            skipped(reason.kind)


def text_of(record: Any, where: str, field: str) -> bytes:
    """The text of one record. Raises Unusable, with place, field and what stands there."""
    remedy = "mend it, or leave such records out with --unusable skip"
    if isinstance(record, Unusable):
        raise record
    if not isinstance(record, dict):
        raise Unusable(
            "no object", f"{where} has no text in {field!r}, it is a {type(record).__name__}; {remedy}"
        )
    if field not in record:
        found = ", ".join(map(str, record))
        raise Unusable("missing", f"{where} has no field {field!r}, it has {found}; set field, {remedy}")
    text = record[field]
    if text is None:
        raise Unusable("null", f"{where}: {field!r} is null; {remedy}")
    if not isinstance(text, str):
        raise Unusable("no text", f"{where}: {field!r} is a {type(text).__name__}, not text; {remedy}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        at = f"character {error.start + 1}"
        said = f"{where}: {field!r} holds half a surrogate pair at {at}, which is no character; {remedy}"
        raise Unusable("half a surrogate pair", said) from None


def _lines(stream: BinaryIO, field: str) -> Iterator[tuple[int, int, Any]]:
    for number, line in enumerate(stream):
        if line.strip():
            yield number, number + 1, _parsed(line, number + 1)


def _parsed(line: bytes, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return Unusable("no JSON", f"line {number}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Unusable("no JSON", f"line {number}: {error}")


def _rows(delimiter: str) -> Callable[[BinaryIO, str], Iterator[tuple[int, int, Any]]]:
    def read(stream: BinaryIO, field: str) -> Iterator[tuple[int, int, Any]]:
        csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is less than many a document
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        rows = csv.DictReader(text, delimiter=delimiter, strict=True)
        _check_column(rows.fieldnames or [], field)
        try:
            for number, row in enumerate(rows):
                yield number, rows.line_num, row
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from error

    return read


def _parquet(stream: BinaryIO, field: str) -> Iterator[tuple[int, int, Any]]:
    from pyarrow import parquet  # takes half a second, and few need it

    table = parquet.ParquetFile(stream)
    _check_column(table.schema_arrow.names, field)
    number = 0
    for batch in table.iter_batches(columns=[field]):
        for row in batch.to_pylist():
            yield number, number, row
            number += 1


def _check_column(names: Any, field: str) -> None:
    if field not in names:
        raise ValueError(f"has no column {field!r} but {', '.join(names) or 'none'}; set field")


RECORDS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[int, int, Any]]]] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines"), _lines),
    ".csv": _rows(","),
    ".tsv": _rows("\t"),
    **dict.fromkeys((".parquet", ".parq", ".pq"), _parquet),
}
"""Ending -> what gives a number, a place and a record for each record of such a file; the field is a CSV's column."""

WORDS: dict[str, str] = dict.fromkeys((".parquet", ".parq", ".pq"), "row")
"""What a place is called, where not a line."""
