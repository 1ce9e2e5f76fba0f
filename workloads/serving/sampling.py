"""From scores to the next token, for each answer after its own options.

An answer draws from a generator of its own, so its draws do not depend on who shares its batch. Its tokens may: sums
of another order tip a near tie (docs/decisions/0016).
"""

import torch

from workloads.serving.terms import Options

NUCLEUS = 256  # candidates sorted first; only where they do not reach top_p is the whole vocabulary sorted


class Sampler:
    """Chooses the tokens of one answer; `ends` are the model's end tokens."""

    def __init__(self, options: Options, ends: frozenset[int]) -> None:
        self._options = options
        self._ends = sorted(ends)
        self._made = 0
        self._biased = torch.tensor([token for token, _ in options.logit_bias], dtype=torch.long)
        self._bias = torch.tensor([bias for _, bias in options.logit_bias])
        self._counts: torch.Tensor | None = None  # (vocabulary,): how often the answer holds each token
        self._random = torch.Generator()
        self._random.manual_seed(options.seed) if options.seed is not None else self._random.seed()
        # whether the likeliest token as it comes is the answer: then a whole batch is chosen at once
        self.plain = options.temperature == 0 and not (
            options.logit_bias or options.presence_penalty or options.frequency_penalty or options.min_tokens
        )

    def choose(self, scores: torch.Tensor) -> int:
        """The next token after fp32 `scores` (vocabulary,), which may be changed."""
        token = draw(self._adjusted(scores), self._options, self._random)
        self._made += 1
        if self._counts is not None:
            self._counts[token] += 1
        return token

    def _adjusted(self, scores: torch.Tensor) -> torch.Tensor:
        """One operation each for all biases and all penalties: what an answer asks for here, its batch waits for."""
        options = self._options
        scores.index_add_(0, self._biased, self._bias)
        if options.presence_penalty or options.frequency_penalty:
            counts = self._counts = torch.zeros_like(scores) if self._counts is None else self._counts
            scores -= options.presence_penalty * (counts > 0) + options.frequency_penalty * counts
        if self._made < options.min_tokens:
            scores[self._ends] = -torch.inf
        return scores


def draw(scores: torch.Tensor, options: Options, random: torch.Generator) -> int:
    """One token from fp32 `scores` (vocabulary,), by temperature, top_k and top_p."""
    if options.temperature == 0:
        return int(scores.argmax())
    chances = torch.softmax(scores / options.temperature, dim=-1).cpu()
    count = options.top_k or (NUCLEUS if options.top_p < 1 else 0)
    if not count:
        return int(torch.multinomial(chances, 1, generator=random))
    best, tokens = chances.topk(min(count, chances.shape[0]))
    if options.top_k:
        best /= best.sum()
    elif best.sum() < options.top_p:
        best, tokens = chances.sort(descending=True)
    # a token stays while those before it hold less than top_p; the first one always does
    beyond = best.cumsum(0) - best >= options.top_p
    beyond[0] = False
    best[beyond] = 0
    return int(tokens[torch.multinomial(best, 1, generator=random)])
