"""Token ids of texts of any length, on all cores, in memory that does not grow with a text.

The library's encoding of a text takes some 200 bytes for each character, on one core. So a long text is encoded in
pieces that overlap, many at a time. In the middle half of an overlap, far from the ends of both pieces, the two must
have the same tokens at the same places. There they are joined, between two words: a tokenizer's model sees one word at
a time. Where there is no end of a word, two pieces of BPE are joined between two tokens, for its merges do not look
far; other models may (Unigram's choice between two equal scores hangs on a word's first character). Where pieces do
not agree, in a run of one character that is longer than the overlap, say, the text is encoded again in longer pieces,
and at last as a whole.

So the ids are those of the whole text wherever a tokenizer finds words by what lies around them. A rule that pairs what
lies further apart than an overlap, such as a pattern for quoted passages of any length, could be cut.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, models

BATCH = 1 << 20
"""Characters that are encoded at the same time; their encodings take some 200 MB."""
SHORT = 1 << 12
"""Texts that are encoded at the same time, however short."""


@dataclass(frozen=True)
class Cut:
    """How long texts are cut, in characters."""

    size: int = 1 << 15
    overlap: int = 1 << 11

    def longer(self) -> "Cut":
        return Cut(self.size * 4, self.overlap * 4)


class _Disagreement(Exception):
    """Two pieces have other tokens where they overlap."""


@dataclass(frozen=True)
class _Tokens:
    """T tokens of a text: ids (T,), places (T, 2) in characters from the text's begin, and the word of each (T,)."""

    ids: NDArray[np.uint32]
    places: NDArray[np.int64]
    words: NDArray[np.int64]

    @classmethod
    def of(cls, encoding: Encoding, start: int) -> "_Tokens":
        places = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + start
        return cls(np.array(encoding.ids, np.uint32), places, np.array(encoding.word_ids, np.int64))

    def __getitem__(self, part: slice) -> "_Tokens":
        return _Tokens(self.ids[part], self.places[part], self.words[part])

    def within(self, begin: int, end: int) -> slice:
        found = np.flatnonzero((self.places[:, 0] >= begin) & (self.places[:, 1] <= end))
        return slice(found[0], found[-1] + 1) if len(found) else slice(0, 0)


class _Text:
    """A text while its pieces come in, in their order."""

    def __init__(self, whole: str, cut: Cut) -> None:
        self.whole, self.cut = whole, cut
        self.done = False
        self._joined: list[NDArray] = []
        self._last: _Tokens | None = None

    def pieces(self) -> Iterator[tuple["_Text", int, str]]:
        """This text, and the begin and content of each piece that is still wanted."""
        overlap, size = self.cut.overlap, self.cut.size
        for start in range(0, max(1, len(self.whole) - overlap), size - overlap):
            if self.done:
                return
            yield self, start, self.whole[start : start + size]

    def add(self, start: int, new: _Tokens, within_words: bool) -> NDArray | None:
        """Join the next piece; the ids of the whole text once all are there. Raises _Disagreement."""
        if self._last is not None:
            before, after = _agreed(self._last, new, start, start + self.cut.overlap, within_words)
            self._joined.append(self._last.ids[:before])
            new = new[after:]
        self._last = new
        if start + self.cut.size < len(self.whole):
            return None
        self.done = True
        return np.concatenate([*self._joined, new.ids])


def encoded(tokenizer: Tokenizer, texts: Iterable[str], cut: Cut = Cut()) -> Iterator[NDArray]:
    """The ids of each text, (T,) uint32, as the tokenizer gives them for the whole text, without special tokens."""
    within_words = isinstance(tokenizer.model, models.BPE)
    pieces = (piece for text in texts for piece in _Text(text, cut).pieces())
    for batch in _batches(pieces):
        encodings = tokenizer.encode_batch([content for _, _, content in batch], add_special_tokens=False)
        tokens = [
            _Tokens.of(encoding, start) for encoding, (_, start, _) in zip(encodings, batch, strict=True)
        ]
        del encodings
        for (text, start, _), new in zip(batch, tokens, strict=True):
            if text.done:
                continue
            try:
                if (ids := text.add(start, new, within_words)) is not None:
                    yield ids
            except _Disagreement:
                text.done = True
                yield from encoded(tokenizer, [text.whole], cut.longer())


def _agreed(left: _Tokens, right: _Tokens, begin: int, end: int, within_words: bool) -> tuple[int, int]:
    """How many tokens of `left` count, and from which one on `right` does, of two pieces that share begin to end.

    Raises _Disagreement.
    """
    quarter = (end - begin) // 4
    here, there = (side.within(begin + quarter, end - quarter) for side in (left, right))
    one, other = left[here], right[there]
    if not np.array_equal(one.ids, other.ids) or not np.array_equal(one.places, other.places):
        raise _Disagreement
    between = (np.diff(one.words) != 0) & (np.diff(other.words) != 0)
    if within_words and not between.any():
        between[:] = True
    found = np.flatnonzero(between) + 1
    if not len(found):
        raise _Disagreement
    middle = found[len(found) // 2]
    return here.start + middle, there.start + middle


def _batches(pieces: Iterable[tuple[_Text, int, str]]) -> Iterator[list[tuple[_Text, int, str]]]:
    batch, size = [], 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece[2])
        if size >= BATCH or len(batch) == SHORT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
