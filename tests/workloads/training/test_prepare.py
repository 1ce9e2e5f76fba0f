"""`prepare`: the same tokens whatever the text is kept in, and no run on shards that are not what was prepared."""

import gzip
import json
import lzma
import math
import resource
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.workloads.object_stores import ENDPOINTS, NOBODY
from tests.workloads.training.runs import TINY, lines, write_corpus
from workloads.s3 import FolderS3FileSystem
from workloads.training import prepare, train
from workloads.training.config import parse
from workloads.training.data import Corpus, load_corpus
from workloads.training.flags import ConfigError
from workloads.training.shards import ShardedTokens


def prepared(output: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """The result that `prepare` prints."""
    assert prepare.main(["--output", str(output), *more]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], output: Path, *more: str) -> str:
    """What `prepare` says when it refuses; nothing is left at its output."""
    assert prepare.main(["--output", str(output), *more]) == 2
    assert not output.exists() and not list(output.parent.glob(f".{output.name}*"))
    return capsys.readouterr().err


def load(folder: Path, *more: str) -> Corpus:
    return load_corpus(parse(["--data", str(folder), "--context", "32", *more], world=1))


@pytest.fixture
def shards(corpus: Path, tmp_path: Path, capsys) -> Path:
    prepared(tmp_path / "data", capsys, "--source", str(corpus), "--shard-tokens", "5000")
    return tmp_path / "data"


def test_shards_hold_what_a_run_on_the_text_itself_reads(corpus: Path, shards: Path) -> None:
    ours, plain = load(shards), load(corpus)
    assert len(list(shards.glob("training-*.bin"))) > 3
    for one, other in ((ours.training, plain.training), (ours.held_out, plain.held_out)):
        assert isinstance(one, ShardedTokens)
        assert isinstance(one.shards[0], np.memmap)
        assert np.array_equal(one[:], other[:])
    assert (ours.documents, ours.held_out_bytes) == (plain.documents, plain.held_out_bytes)


def test_places_in_several_shards_are_found_whatever_their_shape() -> None:
    shards = ShardedTokens([np.arange(0, 3), np.arange(3, 4), np.arange(4, 10)])
    wanted = np.array([[9, 0], [3, 4], [2, 2]])
    assert len(shards) == 10
    assert np.array_equal(shards[wanted], wanted)
    assert shards[2:5].tolist() == [2, 3, 4]


def test_a_run_on_shards_equals_the_run_on_the_text(
    corpus: Path, shards: Path, tmp_path: Path, capsys
) -> None:
    records = []
    for number, data in enumerate((corpus, shards)):
        given = [*TINY, "--data", str(data), "--output", str(tmp_path / f"model-{number}")]
        assert train.main(given) == 0
        records += lines(capsys.readouterr().out)
    same = ("train_loss", "bits_per_byte", "bigram_bits_per_byte", "heldout_bytes")
    assert [records[0][name] for name in same] == [records[1][name] for name in same]


def written(folder: Path, kind: str, texts: list[str]) -> None:
    """The texts as one file of a kind."""
    folder.mkdir()
    records = [{"id": number, "body": text} for number, text in enumerate(texts)]
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(records), folder / "part.parquet", row_group_size=7)
        return
    text = "\n".join(map(json.dumps, records))
    (folder / "part.jsonl").write_text(text) if kind == "jsonl" else None
    (folder / "part.jsonl.gz").write_bytes(gzip.compress(text.encode())) if kind == "jsonl.gz" else None


def test_lines_of_json_and_rows_of_parquet_are_documents_of_their_own(tmp_path: Path, capsys) -> None:
    texts = [f"text {number} with “quotes”\n" for number in range(100)]
    found = {}
    for kind in ("jsonl", "jsonl.gz", "parquet"):
        written(tmp_path / kind, kind, texts)
        result = prepared(
            tmp_path / f"{kind}-data", capsys, "--source", str(tmp_path / kind), "--field", "body"
        )
        assert result["training"]["documents"] + result["held_out"]["documents"] == 100
        sides = load(tmp_path / f"{kind}-data")
        read = bytes(np.concatenate([sides.training[:], sides.held_out[:]]).clip(0, 255).astype(np.uint8))
        found[kind] = sorted(part for part in read.split(b"\xff") if part)
    assert found["jsonl"] == found["jsonl.gz"] == found["parquet"] == sorted(text.encode() for text in texts)


def test_the_source_may_lie_in_any_store_that_fsspec_reaches(
    corpus: Path, shards: Path, tmp_path, capsys
) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(corpus), "/bucket/corpus", recursive=True)
    try:
        given = ("--source", "memory://bucket/corpus", "--shard-tokens", "5000")
        digest = prepared(tmp_path / "again", capsys, *given)["digest"]
    finally:
        store.rm("/bucket", recursive=True)
    assert digest == prepared(shards, capsys, "--source", str(corpus), "--shard-tokens", "5000")["digest"]


@pytest.fixture(scope="session")
def tokenizer_file(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 300 ids, learned from the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    tokenizer.train([str(path) for path in sorted(corpus.iterdir())], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_a_run_with_another_tokenizer_scores_bytes_and_exports_that_tokenizer(
    corpus: Path, tokenizer_file: Path, tmp_path: Path, capsys
) -> None:
    given = ("--source", str(corpus), "--tokenizer", str(tokenizer_file), "--end-of-text", "<end>")
    prepared(tmp_path / "data", capsys, *given)
    text = Tokenizer.from_file(str(tokenizer_file))
    first = sorted(path for path in corpus.iterdir() if path.name == "module_0.py")[0].read_text()
    ids = text.encode(first).ids
    sides = load(tmp_path / "data", "--vocabulary", "300")
    assert sides.training[: len(ids) + 2].tolist() == [0, *ids, 0]
    run = [*TINY, "--data", str(tmp_path / "data"), "--output", str(tmp_path / "model"), "--steps", "1"]
    assert train.main([*run, "--vocabulary", "300", "--learning-rate", "1e-9"]) == 0
    [record] = lines(capsys.readouterr().out)
    tokens_per_byte = (len(sides.held_out) - 5) / sides.held_out_bytes
    assert record["bits_per_byte"] == pytest.approx(math.log2(300) * tokens_per_byte, rel=0.02)
    assert "bigram_bits_per_byte" not in record
    assert (tmp_path / "model" / "tokenizer.json").read_text() == tokenizer_file.read_text()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["vocab_size"], config["eos_token_id"]) == (300, 0)


@pytest.mark.parametrize("vocabulary", ["299", "428"])
def test_a_vocabulary_that_does_not_match_the_data_is_refused(
    corpus: Path, tokenizer_file: Path, tmp_path: Path, capsys, vocabulary: str
) -> None:
    given = ("--source", str(corpus), "--tokenizer", str(tokenizer_file), "--end-of-text", "<end>")
    prepared(tmp_path / "data", capsys, *given)
    assert load(tmp_path / "data", "--vocabulary", "427").tokenizer.vocabulary == 300
    with pytest.raises(
        ConfigError, match=f"vocabulary={vocabulary}: the data has 300 .* set --vocabulary 300"
    ):
        load(tmp_path / "data", "--vocabulary", vocabulary)


def _remove(shards: Path) -> None:
    (shards / "training-00001.bin").unlink()


def _alter(shards: Path) -> None:
    with open(shards / "training-00001.bin", "r+b") as shard:
        shard.write(b"\x00")


def _cut(shards: Path) -> None:
    with open(shards / "held_out-00000.bin", "r+b") as shard:
        shard.truncate(100)


def _lose_manifest(shards: Path) -> None:
    (shards / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove, r"training-00001\.bin: listed in manifest\.json but missing"),
        (_alter, r"training-00001\.bin: expected sha256 .* altered"),
        (_cut, r"held_out-00000\.bin: expected \d+ bytes, found 100"),
        (_lose_manifest, r"manifest\.json: expected the manifest .* found none"),
    ],
)
def test_a_run_refuses_a_folder_that_is_not_what_was_prepared(
    shards: Path, tmp_path: Path, capsys, damage, message: str
) -> None:
    damage(shards)
    assert train.main([*TINY, "--data", str(shards), "--output", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    with pytest.raises(ConfigError, match=message + ".*prepare makes it anew"):
        load(shards)
    assert "nothing is trained on data that is not what was prepared" in said
    assert not (tmp_path / "model").exists()


def test_a_run_refuses_data_with_another_digest_than_the_recorded_one(
    corpus: Path, shards: Path, capsys
) -> None:
    digest = prepared(shards, capsys, "--source", str(corpus), "--shard-tokens", "5000")["digest"]
    assert load(shards, "--data-digest", digest).digest == digest
    prepared(shards, capsys, "--source", str(corpus), "--shard-tokens", "5000", "--pattern", "module_[0-3]*")
    with pytest.raises(ConfigError, match=f"expected digest {digest}, found sha256:"):
        load(shards, "--data-digest", digest)


def test_a_source_without_a_document_is_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(capsys, tmp_path / "data", "--source", str(tmp_path / "empty"))
    assert "no document was found; give a source with text or widen the pattern" in said


def test_a_source_that_cannot_be_listed_is_refused(tmp_path: Path, capsys) -> None:
    said = refused(capsys, tmp_path / "data", "--source", "nowhere://bucket/x")
    assert "cannot be listed (Protocol not known: nowhere)" in said and "that this machine may read" in said


def test_a_store_that_cannot_be_reached_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    for name, value in {
        **NOBODY["s3"],
        ENDPOINTS["s3"]: "http://127.0.0.1:1",
    }.items():  # nothing listens there
        monkeypatch.setenv(name, value)
    FolderS3FileSystem.clear_instance_cache()
    said = refused(capsys, tmp_path / "data", "--source", "s3://bucket/text")
    assert (
        "source='s3://bucket/text', pattern='*': cannot be listed (Could not connect to the endpoint" in said
    )


def test_text_is_not_prepared_into_itself(corpus: Path, tmp_path: Path, capsys) -> None:
    said = refused(capsys, corpus / "data", "--source", str(corpus))
    assert "is, holds or lies in source=" in said and "give a folder beside it" in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "fine"}\n{"tex', "cannot read a.jsonl (line 2, column 2: Unterminated string"),
        (
            "a.jsonl",
            b'{"text": "fine"}\n{"body": "x", "id": 3}',
            "line 2 has no field 'text', it has body, id",
        ),
        ("a.jsonl", b'{"text": "\xff"}', "cannot read a.jsonl (line 1: 'utf-8' codec can't decode"),
        ("a.jsonl", b"[1]", "line 1 has no text in 'text', it is a list; mend it"),
        (
            "a.txt.zst",
            b"text",
            "cannot read a.txt.zst (read are .jsonl, .csv, .tsv, .parquet and plain text, each also with .gz",
        ),
        ("a.json", b'[{"text": "x"}]', ".gz, .bz2 or .xz behind: write it as lines of JSON, .jsonl)"),
        ("a.json.gz", gzip.compress(b"[]"), "behind: write it as lines of JSON, .jsonl)"),
        ("a.pyc", b"\xa7\r\r\n\0\0", "cannot read a.pyc (read are .jsonl"),
        ("a.parquet", b"PAR1 cut off", "cannot read a.parquet ("),
        ("a.txt.gz", gzip.compress(b"x" * 1000)[:-9], "cannot read a.txt.gz (Compressed file ended"),
        ("a.txt.gz", gzip.compress(b"x" * 1000)[:10] + b"\xff" * 9, "cannot read a.txt.gz (Error -3 while"),
        ("a.txt.xz", lzma.compress(b"x" * 1000)[:-40] + b"\xff" * 40, "cannot read a.txt.xz ("),
    ],
)
def test_a_broken_file_is_refused_by_name_and_place(
    tmp_path: Path, capsys, name: str, content: bytes, message: str
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_bytes(content)
    said = refused(capsys, tmp_path / "data", "--source", str(tmp_path / "source"))
    assert message in said and "repair it, make it readable or narrow the pattern" in said


def test_a_parquet_file_without_the_column_is_told_which_it_has(tmp_path: Path, capsys) -> None:
    written(tmp_path / "source", "parquet", ["x"])
    said = refused(capsys, tmp_path / "data", "--source", str(tmp_path / "source"))
    assert "has no column 'text' but id, body; set field" in said


def test_text_that_is_no_utf8_is_refused_for_a_tokenizer_and_fine_as_bytes(
    tokenizer_file: Path, tmp_path: Path, capsys
) -> None:
    write_corpus(tmp_path / "source")
    (tmp_path / "source" / "odd.py").write_bytes(b"\xff\xfe")
    given = ("--tokenizer", str(tokenizer_file), "--end-of-text", "<end>")
    said = refused(capsys, tmp_path / "data", "--source", str(tmp_path / "source"), *given)
    assert "odd.py is no UTF-8" in said
    prepared(tmp_path / "data", capsys, "--source", str(tmp_path / "source"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--tokenizer", "nowhere.json"], "tokenizer='nowhere.json': must be 'bytes' or a tokenizer.json"),
        (["--shard-tokens", "0"], "shard_tokens=0: must be at least 1"),
        (["--output", "az://bucket/x"], "output='az://bucket/x': must be a path, file:///"),
        (["--colour", "red"], "--colour: is no setting"),
    ],
)
def test_a_setting_that_cannot_be_used_starts_nothing(tmp_path: Path, capsys, given, message: str) -> None:
    assert message in refused(capsys, tmp_path / "data", *given)


def test_an_end_of_text_that_the_tokenizer_lacks_is_told_which_it_has(
    tokenizer_file: Path, tmp_path, capsys
) -> None:
    said = refused(capsys, tmp_path / "data", "--tokenizer", str(tokenizer_file))
    assert "end_of_text='<|endoftext|>': must be a token of" in said and "it has <end>" in said


def test_a_disk_that_does_not_take_the_shards_is_named_and_nothing_is_left(
    corpus: Path, tmp_path: Path, capsys
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        assert prepare.main(["--source", str(corpus), "--output", str(tmp_path / "data")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "output: [Errno 27] File too large; make room, or give another place" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
