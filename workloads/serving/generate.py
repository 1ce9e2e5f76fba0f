"""From a prompt to a stream of text: sampling, stopping and counting over a decoder.

One request at a time; the caller owns threads and queues. Greedy at temperature 0, otherwise temperature and
nucleus (top_p) sampling from a generator seeded per request, so the same seed gives the same answer.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from tokenizers import Tokenizer

from workloads.serving.model import Decoder
from workloads.serving.terms import Options, Piece, check_length
from workloads.serving.text import Detokenizer, StopStrings

PREFILL_TOKENS = 256  # prompt tokens per pass: bounds memory, and how long a cancelled request runs on


class Generator:
    """Answers prompts with one model and its tokenizer."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._end = frozenset(decoder.architecture.eos_token_ids)

    def generate(
        self, prompt: Sequence[int], options: Options, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Piece]:
        """Yield one Piece per new token and a last one with the finish reason.

        An end token is neither text nor counted. `cancelled` is asked before every pass through the model.
        Raises PromptTooLong or ValueError (empty prompt) before anything is computed.
        """
        check_length(len(prompt), options.max_tokens, self._decoder.architecture.context_length)
        if not prompt:
            raise ValueError("an empty prompt has no position to continue from; give at least one token")
        return self._run(list(prompt), options, cancelled)

    def _run(self, prompt: list[int], options: Options, cancelled: Callable[[], bool]) -> Iterator[Piece]:
        text, stops = Detokenizer(self._tokenizer), StopStrings(options.stop)
        random = torch.Generator()
        random.manual_seed(options.seed) if options.seed is not None else random.seed()
        cache = self._decoder.new_cache(len(prompt) + options.max_tokens)
        logits = torch.empty(0)
        for start in range(0, len(prompt), PREFILL_TOKENS):
            if cancelled():
                yield Piece("", 0, "cancelled")
                return
            logits = self._decoder.forward(torch.tensor(prompt[start : start + PREFILL_TOKENS]), cache)
        count, reason = 0, "length"
        while count < options.max_tokens:
            token = sample(logits, options, random)
            if token in self._end:
                reason = "stop"
                break
            count += 1
            yield Piece(stops.add(text.add(token)), count)
            if stops.stopped:
                reason = "stop"
                break
            if cancelled():
                yield Piece("", count, "cancelled")
                return
            if count < options.max_tokens:
                logits = self._decoder.forward(torch.tensor([token]), cache)
        rest = stops.add(text.finish())  # the last characters may complete a stop string
        if stops.stopped:
            reason = "stop"
        yield Piece(rest + stops.finish(), count, reason)


def sample(logits: torch.Tensor, options: Options, random: torch.Generator) -> int:
    """One token from fp32 `logits` (vocabulary,)."""
    if options.temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / options.temperature, dim=-1)
    if options.top_p >= 1:
        return int(torch.multinomial(chances, 1, generator=random))
    chances, order = chances.sort(descending=True, stable=True)
    # a token stays while those before it hold less than top_p; the first one always does
    chances[chances.cumsum(0) - chances >= options.top_p] = 0
    return int(order[torch.multinomial(chances, 1, generator=random)])
