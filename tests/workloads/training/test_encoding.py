"""Token ids of long texts: those of the whole text, of all of it, on all cores and in bounded memory."""

import argparse
import csv
import inspect
import json.decoder
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.workloads.training.runs import ROOT
from workloads.training.encoding import Cut, encoded
from workloads.training.tokenizer import load_tokenizer

SOURCES = [inspect.getsource(module) for module in (argparse, csv, json.decoder, textwrap)]
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Words as newer GPT models find them, rewritten to what they have in common."""
DIGITS = r"\p{N}{1,3}(?=(\p{N}{3})*(?!\p{N}))"
"""Groups of three digits, counted from a number's end."""


def learned(
    model: models.Model,
    trainer: trainers.Trainer,
    normalizer: normalizers.Normalizer | None = None,
    pre_tokenizer: pre_tokenizers.PreTokenizer | None = None,
) -> Tokenizer:
    """A tokenizer of the sources' own words. Without a pre-tokenizer a whole text is one word, so lines are learned."""
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    lines = SOURCES if pre_tokenizer is not None else [line for text in SOURCES for line in text.splitlines()]
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def bpe(*parts: object, **model: object) -> Tokenizer:
    named = ["<end>", *([str(model["unk_token"])] if model else [])]
    alphabet = [] if model else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=named, show_progress=False
    )
    return learned(models.BPE(**model), trainer, *parts)  # pyright: ignore[reportArgumentType]


def prefixed() -> Tokenizer:
    tokenizer = bpe(None, pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def unigram() -> Tokenizer:
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer = learned(models.Unigram(), trainer, normalizers.NFKC(), pre_tokenizers.Metaspace())
    tokenizer.add_special_tokens([AddedToken("<end>", lstrip=True, rstrip=True)])
    return tokenizer


def word_piece() -> Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]"], show_progress=False)
    model = models.WordPiece(unk_token="[UNK]")
    return learned(model, trainer, normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer())


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])


SPACES = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
STRIPPED = normalizers.Sequence([normalizers.Strip(), normalizers.NFD(), normalizers.StripAccents()])
MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": lambda: bpe(None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "byte-level BPE with a first space": prefixed,
    "BPE of words by a pattern": lambda: bpe(normalizers.NFC(), split(WORDS)),
    "BPE of digits from the right": lambda: bpe(None, split(DIGITS)),
    "BPE without words": lambda: bpe(SPACES, unk_token="<unk>", fuse_unk=True),
    "BPE of words by spaces": lambda: bpe(
        normalizers.Lowercase(), pre_tokenizers.Whitespace(), unk_token="<unk>"
    ),
    "BPE of text without its ends": lambda: bpe(STRIPPED, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "Unigram": unigram,
    "WordPiece": word_piece,
}
MARKS = [
    "a",
    " ",
    "\n",
    "\t",
    "1",
    "=",
    "ä",
    "Σ",
    "ﬁ",
    "  ",
    "\n\n",
    "23",
    "a\u0308",
    "日本語",
    "ก็",
    "🙂",
    "\u00a0",
    "\u200d",
]
PARTS = st.sampled_from([*MARKS, "👩\u200d👩\u200d👧", "<end>", "def ", "self.", "...", "'s"])
RUNS = st.builds(str.__mul__, PARTS, st.sampled_from([1, 7, 64, 300]))
MIXED = st.builds("".join, st.lists(PARTS, max_size=80))
PASSAGES = st.builds(
    lambda text, at, size: text[at % len(text) :][:size],
    st.sampled_from(SOURCES),
    st.integers(0, 10**6),
    st.integers(0, 300),
)
TEXTS = st.lists(st.builds("".join, st.lists(RUNS | MIXED | PASSAGES, max_size=30)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {name: make() for name, make in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_ids_of_a_text_in_pieces_are_those_of_the_whole_text(
    tokenizers: dict[str, Tokenizer], name: str, texts: list[str]
) -> None:
    tokenizer = tokenizers[name]
    whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert [ids.tolist() for ids in encoded(tokenizer, texts, Cut(512, 256))] == whole


@pytest.mark.parametrize("name", MAKERS)
def test_a_text_that_has_no_place_to_be_cut_at_is_encoded_as_a_whole(
    tokenizers: dict[str, Tokenizer], name: str
) -> None:
    tokenizer = tokenizers[name]
    for text in ("x" * 3001, "=" * 3001 + "\n" + " " * 3001, "日本" * 1501, "12" * 1501):
        [ids] = encoded(tokenizer, [text], Cut(256, 64))
        assert ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_choice_between_equal_scores_is_the_one_in_the_whole_text() -> None:
    """Unigram takes `b`, `bb` or `bb`, `b` as the sums of scores from the word's first character are rounded."""
    scores = [("<unk>", -9.0), ("a", -2.1), ("b", -2.3), ("bb", -3.7), ("c", -1.3)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    for number in range(40):
        text = "ac" * (300 + number) + "bbb" + "ca" * 50 + "bbb" + "c" * number + "bbb" * 30
        [ids] = encoded(tokenizer, [text], Cut(256, 64))
        assert ids.tolist() == tokenizer.encode(text).ids


def saved(folder: Path) -> Path:
    """A byte-level BPE tokenizer in a file, as one that was last used for short texts in batches leaves it."""
    tokenizer = MAKERS["byte-level BPE"]()
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_a_tokenizer_saved_with_a_cut_and_a_padding_cuts_and_pads_no_document(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(saved(tmp_path)), "<end>")
    plain = Tokenizer.from_str(tokenizer.file)
    plain.no_truncation()
    plain.no_padding()
    texts = [SOURCES[0][:5000], "short"]
    assert [ids.tolist() for ids in tokenizer.encode(text.encode() for text in texts)] == [
        plain.encode(text).ids for text in texts
    ]


PREPARE = """
import json, os, resource, sys
from pathlib import Path
from workloads.training import prepare
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # bytes; Linux counts in KiB
def busy(thread): return int((thread / "schedstat").read_text().split()[0])  # nanoseconds on a core
before = peak()
assert prepare.main(sys.argv[1:]) == 0
others = [busy(thread) for thread in Path("/proc/self/task").iterdir() if thread.name != str(os.getpid())]
own = busy(Path("/proc/self"))
print(json.dumps([[other / (own + sum(others)) for other in others], peak() - before]))
"""


def test_a_text_of_20_mb_is_encoded_in_bounded_memory_by_more_than_one_thread(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    content = "".join(SOURCES)
    (tmp_path / "source" / "a.txt").write_text(content * (20_000_000 // len(content)))
    words = ["--source", tmp_path / "source", "--output", tmp_path / "data", "--end-of-text", "<end>"]
    command = [sys.executable, "-c", PREPARE, *words, "--tokenizer", saved(tmp_path)]
    environment = os.environ | {"RAYON_NUM_THREADS": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shares, peak = json.loads(done.stdout.splitlines()[-1])
    assert sum(share > 0.05 for share in shares) > 1, shares  # of the work, by threads beside the main one
    assert peak < 600_000_000
