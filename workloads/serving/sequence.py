"""One answer in the making: its tokens, where they lie in the cache, and the text that has come of them."""

import torch
from tokenizers import Tokenizer

from workloads.serving.cache import BLOCK_TOKENS, ROOT, Blocks, contents
from workloads.serving.sampling import Sampler
from workloads.serving.terms import Options, Piece
from workloads.serving.text import Detokenizer, StopStrings


class Sequence:
    """A prompt that was let in. `blocks` are its own for good; the first `shared` of them are filled."""

    def __init__(
        self,
        prompt: list[int],
        options: Options,
        blocks: list[int],
        shared: int,
        ends: frozenset[int],
        tokenizer: Tokenizer,
        device: torch.device,
    ) -> None:
        ends = (frozenset() if options.ignore_eos else ends) | frozenset(options.stop_tokens)
        self.tokens = list(prompt)
        self.prompt_tokens = len(prompt)
        self.cached = shared * BLOCK_TOKENS  # tokens whose keys and values are in the cache
        self.blocks = blocks
        within = torch.arange(BLOCK_TOKENS, device=device)
        self.places = (torch.tensor(blocks, device=device)[:, None] * BLOCK_TOKENS + within).flatten()
        self.sampler = Sampler(options, ends)
        self._contents = contents(prompt[: self.cached])  # of the blocks that are full
        self._max_tokens = options.max_tokens
        self._ends = ends
        self._text, self._stops = Detokenizer(tokenizer, prompt), StopStrings(options.stop)

    @property
    def made(self) -> int:
        """New tokens so far."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def decoding(self) -> bool:
        """Only its newest token is not in the cache yet, and that one is its own."""
        return self.made > 0

    def fill(self, count: int, blocks: Blocks) -> None:
        """Note that `count` more tokens are in the cache, and offer the blocks that became full for sharing."""
        self.cached += count
        done = len(self._contents)
        if self.cached < (done + 1) * BLOCK_TOKENS:
            return
        after = self._contents[-1:] or [ROOT]
        for content in contents(self.tokens[done * BLOCK_TOKENS : self.cached], *after):
            blocks.filled(self.blocks[len(self._contents)], content)
            self._contents.append(content)

    def accept(self, token: int) -> Piece:
        """Take `token` as the next one. An end token is neither text nor counted."""
        if token in self._ends:
            return self._end("")
        self.tokens.append(token)
        text = self._stops.add(self._text.add(token))
        if self._stops.stopped or self.made == self._max_tokens:
            return self._end(text)
        return Piece(text, self.made)

    def _end(self, text: str) -> Piece:
        stopped = self.made < self._max_tokens
        text += self._stops.add(self._text.finish()) + self._stops.finish()  # may complete a stop string
        return Piece(text, self.made, "stop" if stopped or self._stops.stopped else "length")
