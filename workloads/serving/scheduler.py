"""Continuous batching: what goes through the model next, and what comes of it.

Each step takes one token of every sequence that decodes and a bounded piece of the prompts that still have to
be read. Sequences come and go between steps, so nobody waits for the longest answer of a batch. A long prompt
holds those that decode up by one piece a step, and leaves half of each piece to the shorter prompts that come
after it. Owned by one thread.
"""

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from workloads.serving.cache import BLOCK_TOKENS, Blocks
from workloads.serving.model import Chunk, Decoder, Pass, causal
from workloads.serving.sequence import Sequence
from workloads.serving.terms import Counts, Options, Piece, PromptTooLong, check_length

PREFILL_TOKENS = 256  # prompt tokens per step while nobody decodes: bounds memory, and a newcomer's wait
SHARED_PREFILL_TOKENS = 64  # while somebody decodes: bounds what his next token waits for


class Scheduler:
    """One model, its cache of `positions` positions, and the sequences that run on it."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, positions: int) -> None:
        self.decoder = decoder
        self._tokenizer = tokenizer
        self._ends = frozenset(decoder.architecture.eos_token_ids)
        self._blocks = Blocks(positions // BLOCK_TOKENS)
        self._cache = decoder.new_cache(self._blocks.count * BLOCK_TOKENS)
        self._running: list[Sequence] = []
        self._decoding: list[Sequence] = []  # those of `_table`
        self._table = torch.empty(0)  # (N, longest): where their positions lie, now and later
        self.counts = Counts()

    @property
    def cache_usage(self) -> float:
        """Share of the cache that running sequences hold, 0 to 1; what is kept for later ones is free."""
        return self._blocks.usage

    @property
    def cache_blocks(self) -> int:
        return self._blocks.count

    def check(self, prompt: list[int], options: Options) -> None:
        """Raises PromptTooLong or ValueError (empty prompt) for what could never be answered here."""
        check_length(len(prompt), options.max_tokens, self.decoder.architecture.context_length)
        if not prompt:
            raise ValueError("an empty prompt has no position to continue from; give at least one token")
        room = self._blocks.count * BLOCK_TOKENS
        if len(prompt) + options.max_tokens > room:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens and max_tokens is {options.max_tokens}, together "
                f"{len(prompt) + options.max_tokens}; this server's cache holds {room} tokens of all answers "
                "together; shorten the prompt, lower max_tokens, or start the server with a larger cache"
            )

    def admit(self, prompt: list[int], options: Options) -> Sequence | None:
        """Let a sequence in, with all the cache that it can ever need; None while so much is not free.

        Raises what `check` raises.
        """
        self.check(prompt, options)
        taken = self._blocks.take(prompt, len(prompt) + options.max_tokens)
        if taken is None:
            return None
        try:
            sequence = Sequence(prompt, options, *taken, self._ends, self._tokenizer, self.decoder.device)
        except BaseException:
            self._blocks.give_back(taken[0])
            raise
        self._running.append(sequence)
        self.counts.prompt_tokens += len(prompt)
        self.counts.prefix_tokens += sequence.cached
        return sequence

    def drop(self, sequence: Sequence) -> None:
        """End `sequence`; its part of the cache is free at once. Harmless when it has ended."""
        if sequence in self._running:
            self._running.remove(sequence)
            self._blocks.give_back(sequence.blocks)

    @torch.inference_mode()
    def step(self) -> list[tuple[Sequence, Piece | Exception]]:
        """One pass through the model; what each sequence that got a token makes of it, those that end dropped.

        An exception in place of a piece is that sequence's own; one that is raised is everybody's.
        """
        decoding = [sequence for sequence in self._running if sequence.decoding]
        chunks = self._chunks(SHARED_PREFILL_TOKENS if decoding else PREFILL_TOKENS)
        taken = self._pass(decoding, chunks)
        self.counts.fast_steps += self.decoder.fast_for(taken) is not None
        scores = self.decoder.forward(taken, self._cache)
        self.counts.steps += 1
        self.counts.decode_steps += bool(decoding)
        for sequence, count in [*((one, 1) for one in decoding), *chunks]:
            sequence.fill(count, self._blocks)
        self.counts.prefill_tokens += sum(count for _, count in chunks)
        read = [sequence for sequence, _ in chunks if sequence.cached == sequence.prompt_tokens]
        return self._advance(decoding + read, scores)

    def _chunks(self, budget: int) -> list[tuple[Sequence, int]]:
        """Prompts to read on, and how many tokens of each.

        Half goes to the first that came, so that everybody's turn comes; the rest to those with the least left,
        so that a short prompt does not wait for a long one.
        """
        reading = [one for one in self._running if one.cached < one.prompt_tokens]
        left = {one: one.prompt_tokens - one.cached for one in reading}
        first = [(one, budget // 2) for one in reading[:1]]
        rest = [(one, budget) for one in sorted(reading, key=left.__getitem__)]
        chunks = dict.fromkeys(reading, 0)
        for sequence, most in first + rest:
            count = min(most, budget, left[sequence] - chunks[sequence])
            chunks[sequence] += count
            budget -= count
        return [(sequence, count) for sequence, count in chunks.items() if count]

    def _pass(self, decoding: list[Sequence], chunks: list[tuple[Sequence, int]]) -> Pass:
        device = self.decoder.device
        tokens = [sequence.tokens[-1] for sequence in decoding]
        positions = [sequence.cached for sequence in decoding]
        wanted = list(range(len(decoding)))
        pieces = []
        for sequence, count in chunks:
            start, end, first = sequence.cached, sequence.cached + count, len(tokens)
            tokens += sequence.tokens[start:end]
            positions += range(start, end)
            pieces.append(Chunk(first, len(tokens), sequence.places[:end], causal(start, end, device)))
            if end == sequence.prompt_tokens:
                wanted.append(len(tokens) - 1)
        at = torch.tensor(positions, device=device)
        table, mask = self._places(decoding, at, max(positions[: len(decoding)], default=0) + 1)
        places = [] if table is None else [table.gather(1, at[: len(decoding), None]).flatten()]
        places += [sequence.places[sequence.cached : sequence.cached + count] for sequence, count in chunks]
        return Pass(
            torch.tensor(tokens, device=device),
            at,
            torch.cat(places),
            table,
            mask,
            pieces,
            torch.tensor(wanted, dtype=torch.long, device=device),
        )

    def _places(
        self, decoding: list[Sequence], positions: torch.Tensor, longest: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Where the positions of `decoding` lie up to the `longest`, and which of them each one sees."""
        if not decoding:
            return None, None
        if decoding != self._decoding:  # somebody came or went
            self._decoding = decoding
            self._table = pad_sequence([sequence.places for sequence in decoding], batch_first=True)
        last = positions[: len(decoding)]
        mask = torch.arange(longest, device=last.device) <= last[:, None] if len(decoding) > 1 else None
        return self._table[:, :longest], None if mask is None else mask[:, None, None]

    def _advance(
        self, sequences: list[Sequence], scores: torch.Tensor
    ) -> list[tuple[Sequence, Piece | Exception]]:
        """Give each of `sequences` its next token out of `scores` (sequences, vocabulary)."""
        best = scores.argmax(dim=-1).tolist()  # once for all: a device is waited for here and nowhere else
        if not all(sequence.sampler.plain for sequence in sequences):
            scores = scores.cpu()  # in one piece as well
        made: list[tuple[Sequence, Piece | Exception]] = []
        for sequence, likeliest, row in zip(sequences, best, scores, strict=True):
            before = sequence.made
            try:
                piece = sequence.accept(likeliest if sequence.sampler.plain else sequence.sampler.choose(row))
            except Exception as error:
                made.append((sequence, error))
                self.drop(sequence)
                continue
            made.append((sequence, piece))
            self.counts.generated_tokens += sequence.made - before  # an end token is none
            if piece.finish_reason:
                self.drop(sequence)
        return made
