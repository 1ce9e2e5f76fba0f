"""From tokens to text while tokens still arrive: whole characters only, and an end at a stop string.

Pure string work; no model here.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

REPLACEMENT = "\ufffd"  # how a decoder shows bytes that are not (yet) a character
CHARACTER = 4  # tokens, each of at least a byte, that a character can take: UTF-8 has no longer ones
WINDOW = 256  # the most tokens among which one that is text is looked for


class Detokenizer:
    """Turns the tokens that follow `prompt` into text as they come.

    One character may take several tokens, so text is held back while it ends in an unfinished one. All pieces
    together equal what decoding prompt and tokens at once has beyond the prompt's text, but for broken characters:
    with byte fallback decoding at once breaks all of a run of bytes in which one is broken; here others stay whole.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        # stands for all text so far: decoders that strip the first token's space should find another one first
        recent = list(prompt[-WINDOW:])
        self._before = next(
            ([token] for token in reversed(recent) if self._is_text(token)), self._run(recent)
        )
        self._tokens: list[int] = []  # those behind it that are not all text yet
        self._given = len(self._decode(self._before))  # characters of both that are no news

    def add(self, token: int) -> str:
        """The text that `token` completes; "" while a character is unfinished."""
        self._tokens.append(token)
        whole = self._decode(self._before + self._tokens)
        unfinished = whole.endswith(REPLACEMENT)
        if unfinished and len(self._tokens) < CHARACTER:
            return ""
        text = whole[self._given : len(whole) - unfinished]
        if unfinished:  # more than one character: whatever comes now changes the last one only
            self._tokens = self._tokens[1 - CHARACTER :]
        else:
            if self._is_text(token):
                self._before = [token]
            elif not self._given:  # no text yet, or none before this character
                self._before = (self._before + self._tokens)[-WINDOW:]
            self._tokens = []
        self._given = len(self._decode(self._before + self._tokens)) - unfinished
        return text

    def finish(self) -> str:
        """What was held back; bytes that never became a character appear as U+FFFD."""
        return self._decode(self._before + self._tokens)[self._given :]

    def _run(self, tokens: list[int]) -> list[int]:
        """Of tokens that are no text each, those that are whole characters together; as bytes of Japanese are."""
        for first in range(min(CHARACTER, len(tokens))):  # the window may begin within a character
            for end in range(len(tokens), first, -1):  # and a prompt of token numbers may end within one
                text = self._decode(tokens[first:end])
                if text and REPLACEMENT not in (text[0], text[-1]):
                    return tokens[first:end]
                if len(tokens) - end >= CHARACTER:
                    break
        return []

    def _is_text(self, token: int) -> bool:
        """Whether `token` alone gives whole characters: no special one, no lone space, no part of a character."""
        text = self._decode([token])
        return text != "" and REPLACEMENT not in text

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
