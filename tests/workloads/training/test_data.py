import math
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.workloads.training.runs import write_corpus
from workloads.held_out import is_held_out
from workloads.training import prepare
from workloads.training.bigram import bigram_bits_per_byte
from workloads.training.config import parse
from workloads.training.data import Corpus, evaluation_starts, load_corpus, windows
from workloads.training.evaluation import evaluate
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel
from workloads.training.sampler import Sampler
from workloads.training.tokens import END_OF_TEXT
from workloads.training.workers import Workers


def load(folder: Path | str, context: int) -> Corpus:
    return load_corpus(parse(["--data", str(folder), "--context", str(context)], world=1))


def test_the_split_of_known_names_never_changes() -> None:
    held_out = [name for name in (f"module_{number}.py" for number in range(40)) if is_held_out(name)]
    assert held_out == PINNED
    assert sum(is_held_out(f"module_{number}.py") for number in range(1000)) == 67


PINNED = ["module_14.py", "module_19.py", "module_32.py", "module_38.py"]


def test_each_file_is_wholly_on_the_side_its_path_says(corpus: Path) -> None:
    sides = load(corpus, 32)
    for path in corpus.iterdir():
        text = path.read_bytes()
        training, held_out = (
            bytes(side[side < 256].astype(np.uint8)) for side in (sides.training[:], sides.held_out[:])
        )
        assert (text in held_out, text in training) == (is_held_out(path.name), not is_held_out(path.name))
    assert sides.documents == (40 - len(PINNED), len(PINNED))


def test_another_file_moves_no_file_across_and_changes_the_digest(tmp_path: Path) -> None:
    before = load(write_corpus(tmp_path / "text"), 32)
    added = next(name for name in (f"new_{number}.py" for number in range(99)) if not is_held_out(name))
    (tmp_path / "text" / added).write_text("x = 1\n")
    after = load(tmp_path / "text", 32)
    assert np.array_equal(before.held_out[:], after.held_out[:])
    assert len(after.training) == len(before.training) + len("x = 1\n") + 1
    assert before.digest != after.digest


def test_the_digest_follows_content_and_path_and_not_the_place(tmp_path: Path) -> None:
    digests = [load(write_corpus(tmp_path / name), 32).digest for name in ("here", "there")]
    assert digests[0] == digests[1]
    (tmp_path / "there" / "module_0.py").rename(tmp_path / "there" / "module_00.py")
    assert load(tmp_path / "there", 32).digest != digests[0]


def test_installed_packages_are_not_part_of_the_corpus(tmp_path: Path) -> None:
    plain = load(write_corpus(tmp_path / "text"), 32)
    (tmp_path / "text" / "site-packages").mkdir()
    (tmp_path / "text" / "site-packages" / "other.py").write_text("import other\n")
    assert load(tmp_path / "text", 32).digest == plain.digest


def test_the_standard_library_gives_megabytes_with_five_to_ten_percent_held_out() -> None:
    corpus = load("", 128)
    assert Path(sysconfig.get_paths()["stdlib"], "json", "decoder.py").is_file()
    assert len(corpus.training) > 5_000_000
    assert 0.05 < corpus.documents[1] / sum(corpus.documents) < 0.10


@pytest.mark.parametrize("files", [0, 1])
def test_an_empty_or_too_small_corpus_is_refused(tmp_path: Path, files: int) -> None:
    for number in range(files):
        (tmp_path / f"module_{number}.py").write_text("x = 1\n")
    with pytest.raises(
        ConfigError, match=r"data=.*pattern='\*\.py'.*side has .* tokens.*give more text in more files"
    ):
        load(tmp_path, 32)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be an existing folder; give one"):
        load(tmp_path / "nowhere", 32)


def test_an_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "text")
    (corpus / "module_00.py").symlink_to("/proc/self/mem")  # not even root, whom modes do not stop, reads it
    with pytest.raises(ConfigError, match=r"cannot read module_00\.py \(.+\); repair it, make it readable"):
        load(corpus, 32)


def test_the_workers_shares_make_up_the_batch() -> None:
    starts = Sampler(tokens=1000, context=16, seed=3).take(8)
    shares = [Workers(rank, rank, world=4).share(starts) for rank in range(4)]
    assert [len(share) for share in shares] == [2] * 4
    assert np.array_equal(np.concatenate(shares), starts)


def test_evaluation_windows_spread_over_the_text_and_score_no_byte_twice() -> None:
    tokens = np.arange(10_001, dtype=np.uint16)
    some = evaluation_starts(len(tokens), 10, at_least=500)
    assert len(some) == 50 and some[-1] >= 9_700 and (np.diff(some) >= 10).all()
    every = windows(tokens, evaluation_starts(len(tokens), 10, at_least=10**9), 10)[:, 1:].flatten()
    assert torch.equal(every, torch.arange(1, 10_001))


def test_the_bigram_baseline_equals_a_plain_computation() -> None:
    texts = {"training": [b"abab", b"abc\xff", b""], "held": [b"abd", b"\xffa"]}
    streams = {
        side: [END_OF_TEXT, *(token for text in group for token in (*text, END_OF_TEXT))]
        for side, group in texts.items()
    }
    pairs = Counter(zip(streams["training"], streams["training"][1:], strict=False))
    firsts = Counter(streams["training"][:-1])
    bits = [
        -math.log2((pairs[first, second] + 1) / (firsts[first] + 257))
        for first, second in zip(streams["held"], streams["held"][1:], strict=False)
        if second != END_OF_TEXT
    ]
    assert len(bits) == 5
    training, held = (np.array(streams[side], dtype=np.uint16) for side in ("training", "held"))
    assert bigram_bits_per_byte(training, held) == pytest.approx(sum(bits) / 5, abs=1e-12)


def test_counting_in_chunks_loses_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    from workloads.training import bigram

    tokens = np.random.default_rng(0).integers(0, 257, 100).astype(np.uint16)
    whole = bigram.pair_counts(tokens)
    monkeypatch.setattr(bigram, "_CHUNK", 7)
    assert np.array_equal(bigram.pair_counts(tokens), whole) and whole.sum() == 99


def test_held_out_documents_that_are_all_empty_are_refused_before_training(tmp_path: Path) -> None:
    for number in range(600):
        name = f"module_{number}.py"
        (tmp_path / name).write_text("" if is_held_out(name) else "x = 1\n")
    with pytest.raises(
        ConfigError, match="the 37 held-out documents are all empty.*judged by nothing; give more text"
    ):
        load(tmp_path, 32)


def nearly_empty(folder: Path) -> Path:
    """Held-out documents of which the first window holds no text, and the last one does."""
    names = [f"module_{number}.py" for number in range(2000)]
    held_out = sorted(name for name in names if is_held_out(name))
    for name in names:
        (folder / name).write_text(
            "x = 1" * 5 if name == held_out[-1] else "" if is_held_out(name) else "x = 1\n"
        )
    return folder


def test_held_out_windows_without_text_are_refused_before_training(tmp_path: Path) -> None:
    given = ["--data", str(nearly_empty(tmp_path)), "--context=16"]
    with pytest.raises(
        ConfigError, match="evaluation_bytes=1: the held-out windows .* hold no text.*; raise it"
    ):
        load_corpus(parse([*given, "--evaluation-bytes=1"], world=1))
    config = parse([*given, "--evaluation-bytes=100000"], world=1)
    corpus, model = load_corpus(config), LanguageModel(config.model)
    bits, scored = evaluate(model, corpus, config, Workers(0, 0, 1), torch.device("cpu"))
    assert 0 < bits < 20 and scored > 0


def test_held_out_text_that_became_no_token_is_refused_before_training(tmp_path: Path) -> None:
    """A tokenizer may drop all of a text: spaces, here."""
    tokenizer = Tokenizer(models.WordLevel({"[END]": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[END]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text").mkdir()
    for number in range(200):
        name = f"module_{number}.py"
        (tmp_path / "text" / name).write_text("    " if is_held_out(name) else "a a a\n")
    given = ["--tokenizer", str(tmp_path / "tokenizer.json"), "--end-of-text", "[END]"]
    assert prepare.main([*given, "--source", str(tmp_path / "text"), "--output", str(tmp_path / "data")]) == 0
    with pytest.raises(ConfigError, match="hold no text"):
        load_corpus(parse(["--data", str(tmp_path / "data"), "--context=4", "--vocabulary=3"], world=1))
