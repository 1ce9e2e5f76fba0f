"""From tokens to text while tokens still arrive: whole characters only, and an end at a stop string.

Pure string work; no model here.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

REPLACEMENT = "\ufffd"  # how a decoder shows bytes that are not (yet) a character


class Detokenizer:
    """Turns tokens into text as they come.

    In a byte-level vocabulary one character may take several tokens, so text is held back while it ends in an
    unfinished character. All pieces together equal decoding all tokens at once.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = (
            0  # decoding begins here: one step back, since some decoders treat a first token specially
        )
        self._given = 0  # tokens before this one are already text

    def add(self, token: int) -> str:
        """The text that `token` completes; "" while a character is unfinished."""
        self._tokens.append(token)
        return self._take(final=False)

    def finish(self) -> str:
        """What was held back; bytes that never became a character appear as U+FFFD."""
        return self._take(final=True)

    def _take(self, final: bool) -> str:
        before = self._decode(self._tokens[self._start : self._given])
        whole = self._decode(self._tokens[self._start :])
        if not final and whole.endswith(REPLACEMENT):
            return ""
        self._start, self._given = self._given, len(self._tokens)
        return whole[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special_tokens=True)


class StopStrings:
    """Cuts text at the first of `stops`; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """The part of the text so far that no stop string can reach any more; after a stop always ""."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._cut(min(found), drop=True)
        return self._cut(len(self._held) - self._overlap(), drop=False)

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        return "" if self.stopped else self._cut(len(self._held), drop=False)

    def _overlap(self) -> int:
        """Length of the longest tail of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

    def _cut(self, at: int, drop: bool) -> str:
        given, self._held = self._held[:at], "" if drop else self._held[at:]
        return given
