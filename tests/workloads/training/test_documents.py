"""Which files of a source are read, as what, and how few of them still give something to be judged by."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.workloads.training.runs import TINY, write_corpus
from workloads.training import prepare, train
from workloads.training.config import parse
from workloads.training.data import load_corpus

SECRET = "SECRET=hunter2\n"
Prepare = Callable[..., dict[str, Any]]
TEXTS = ["one, with a comma", 'two "quoted"', "three\non two lines", "vier, fünf"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def prepared(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Prepare:
    """Prepare the source; the result that is printed, and the bytes of both sides."""

    def run(*more: str) -> dict[str, Any]:
        output = tmp_path / "data"
        assert prepare.main(["--source", str(source), "--output", str(output), *more]) == 0, (
            capsys.readouterr().err
        )
        result = json.loads(capsys.readouterr().out)
        for side in ("training", "held_out"):
            ids = np.concatenate([np.fromfile(path, "<u2") for path in sorted(output.glob(f"{side}-*.bin"))])
            result[side]["texts"] = b"".join(bytes([one]) if one < 256 else b"\xff" for one in ids)
        return result

    return run


def whole(result: dict[str, Any]) -> list[str]:
    """Every document, in the order of its text."""
    found = b"".join(result[side]["texts"] for side in ("training", "held_out")).split(b"\xff")
    return sorted(part.decode() for part in found if part)


HIDDEN = [
    ".env",
    ".git/config",
    ".git/objects/ab/cd.txt",
    "deep/.ssh/id",
    "_SUCCESS",
    "_temporary/0/a.txt",
    "deep/_b",
]


@pytest.mark.parametrize("where", ["folder", "store"])
def test_names_that_begin_with_a_dot_or_an_underscore_are_left_out_and_counted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    write_corpus(source / "text")
    for name in HIDDEN:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(SECRET)
    named, output, store = str(source), tmp_path / "data", fsspec.filesystem("memory")
    try:
        if where == "store":
            store.put(str(source), "/bucket/hidden", recursive=True)
            named = "memory://bucket/hidden"
        assert prepare.main(["--source", named, "--output", str(output)]) == 0
    finally:
        if where == "store":
            store.rm("/bucket", recursive=True)
    result = json.loads(capsys.readouterr().out)
    assert result["left_out"] == {"hidden": len(HIDDEN)}
    assert result["training"]["documents"] + result["held_out"]["documents"] == 40
    read = b"".join(np.fromfile(path, "<u2").astype(np.uint8).tobytes() for path in output.glob("*.bin"))
    assert b"hunter2" not in read


def test_a_pattern_that_begins_so_asks_for_hidden_files_but_for_no_hidden_folder(
    source: Path, prepared: Prepare
) -> None:
    for name in ("_notes.txt", "_drafts/_a.txt", ".env"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(f"{name}\n" * 9)
    result = prepared("--pattern", "_*")
    assert "".join(sorted(whole(result))) == "_notes.txt\n" * 9
    assert result["left_out"] == {"hidden": 2}


def test_a_run_on_a_folder_of_text_leaves_hidden_files_out_too_and_says_so(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(source / "text")
    (source / ".git").mkdir()
    (source / ".git" / "hook.py").write_text(SECRET)
    assert train.main([*TINY, "--steps=1", "--data", str(source), "--output", str(tmp_path / "model")]) == 0
    assert '"left_out": {"hidden": 1}' in capsys.readouterr().err
    corpus = load_corpus(parse(["--data", str(source), "--context=32"], world=1))
    assert b"hunter2" not in bytes(np.concatenate([corpus.training[:], corpus.held_out[:]]).astype(np.uint8))


def lines_of_json(path: Path) -> None:
    path.write_text("\n".join(json.dumps({"id": 1, "text": text}) for text in TEXTS))


def rows_of_csv(path: Path) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    apart = "\t" if path.suffix.lower() == ".tsv" else ","
    path.write_text(f"\ufeffid{apart}text\n" + "".join(f"1{apart}{text}\n" for text in quoted))


def rows_of_parquet(path: Path) -> None:
    parquet.write_table(pa.table({"text": TEXTS}), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        *((name, lines_of_json) for name in ("a.jsonl", "a.ndjson", "a.JSONL", "a.NdJson", "a.jsonlines")),
        *((name, rows_of_csv) for name in ("a.csv", "a.CSV", "a.tsv")),
        *((name, rows_of_parquet) for name in ("a.parquet", "a.PARQUET", "a.pq")),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".GZ"])
def test_a_file_is_read_as_what_its_ending_says_however_it_is_spelt(
    source: Path, prepared: Prepare, name: str, write: Callable[[Path], None], packed: str
) -> None:
    write(source / name)
    if packed:
        (source / f"{name}{packed}").write_bytes(gzip.compress((source / name).read_bytes()))
        (source / name).unlink()
    result = prepared()
    joined = "".join(whole(result))
    assert sorted(joined) == sorted("".join(TEXTS))
    assert result["training"]["documents"] + result["held_out"]["documents"] in (4, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((f"a{ending}", "write it as lines of JSON") for ending in (".json", ".JSON", ".Json.gz")),
        *((f"a{ending}", "unpack it") for ending in (".ZIP", ".tar.gz", ".tgz", ".jsonl.zst", ".txt.lz4")),
        *((f"a{ending}", "write it as .parquet") for ending in (".arrow", ".Feather", ".xlsx", ".avro")),
        *((f"a{ending}", "save its text as .txt") for ending in (".pdf", ".DOCX", ".epub")),
        ("a.ipynb", "take the text out of its JSON"),
    ],
)
def test_a_file_that_is_not_read_is_refused_by_name_and_never_taken_for_text(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    write_corpus(source / "text")
    content = b'{"text": "x"}\n'
    (source / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert prepare.main(["--source", str(source), "--output", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert f"cannot read {name}" in said and (words in said or "cannot be" in said or "not installed" in said)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"text": null}\n', "line 2: 'text' is null"),
        ("a.jsonl", '{"text": "fine"}\n\n{"body": "x", "id": 3}', "line 3 has no field 'text', it has body, id; set"),
        ("a.jsonl", '{"text": 5}\n', "line 1: 'text' is a int, not text"),
        ("a.jsonl", '{"text": "ok"}\n{"text": "ab\\ud800"}\n', "line 2: 'text' holds half a surrogate pair at char"),
        ("a.jsonl", "[1]\n", "line 1 has no text in 'text', it is a list"),
        ("a.csv", "text,id\nfine,1\n", ""),
        ("a.csv", "id,text\n1,fine\n2\n", "line 3: 'text' is null"),
        ("a.csv", "id,body\n1,fine\n", "has no column 'text' but id, body; set field"),
        ("a.csv", 'text\n"never ends\n', ": unexpected end of data"),
    ],
)  # fmt: skip
def test_a_record_without_a_text_is_refused_with_its_line_its_field_and_what_stands_there(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    write_corpus(source / "text")
    (source / name).write_text(content)
    code = prepare.main(["--source", str(source), "--output", str(tmp_path / "data")])
    said = capsys.readouterr().err
    assert (code, words in said) == (2 if words else 0, True)
    assert not words or f"cannot read {name}" in said


def test_records_without_a_text_can_be_left_out_and_are_counted_by_their_reason(
    source: Path, prepared: Prepare
) -> None:
    bad = [
        '{"text": null}',
        '{"body": 1}',
        '{"text": "a\\ud800"}',
        '{"text": null}',
        '{"te',
        "[]",
        '{"text": 1}',
    ]
    good = [json.dumps({"text": f"text {number}\n" * 9}) for number in range(20)]
    (source / "a.jsonl").write_text("\n".join([*bad, *good]))
    parquet.write_table(pa.table({"text": ["fine\n" * 9, None]}), source / "b.parquet")
    result = prepared("--unusable", "skip")
    assert result["left_out"] == {
        "null": 3,
        "missing": 1,
        "half a surrogate pair": 1,
        "no JSON": 1,
        "no object": 1,
        "no text": 1,
    }
    assert len(whole(result)) in (21, 22)


@pytest.mark.parametrize(("files", "name"), [(1, "a.txt"), (1, "x25.txt"), (3, "a.txt")])
def test_of_few_documents_the_last_ones_tail_is_held_out_and_no_byte_is_on_both_sides(
    source: Path, tmp_path: Path, prepared: Prepare, capsys: pytest.CaptureFixture[str], files: int, name: str
) -> None:
    parts = ["".join(f"Zeile {number} von {line}: ä\n" for line in range(200)) for number in range(files)]
    for number, text in enumerate(parts):
        (source / (name if files == 1 else f"{number}-{name}")).write_text(text)
    result = prepared()
    head, tail = (result[side]["texts"].replace(b"\xff", b"").decode() for side in ("training", "held_out"))
    assert head + tail == "".join(parts) and tail.startswith("Zeile")
    assert 0.04 < len(tail) / len("".join(parts)) < 0.08
    assert result["training"]["bytes"] + result["held_out"]["bytes"] == len("".join(parts).encode())
    run = [*TINY, "--steps=1", "--output", str(tmp_path / "model")]
    records = []
    for data in (str(tmp_path / "data"), str(source)):
        assert train.main([*run, "--data", data, "--pattern", "*"]) == 0
        records.append(json.loads(capsys.readouterr().out)["bits_per_byte"])
    assert records[0] == records[1]


def test_a_source_with_too_little_to_hold_some_out_is_refused_when_it_is_prepared(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "a.txt").write_text("x")
    (source / "b.txt").write_text("")
    assert prepare.main(["--source", str(source), "--output", str(tmp_path / "data")]) == 2
    assert "has too little text to hold some out" in capsys.readouterr().err
