"""What every contender is given: the same prompts and the same text, as the same token numbers.

Prompts and text are pieces of held-out sources of the standard library (workloads/held_out.py). No two prompts are
alike, so that a prefix cache has nothing to find.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from tokenizers import Tokenizer

from workloads.held_out import held_out_excerpts

PROMPT_TOKENS = 64
ANSWER_TOKENS = 64
ROUNDS = {1: 2, 8: 1, 32: 1}  # clients at once -> answers that each is given in a turn, one after the other
WARM_UP = 2  # prompts before the first that counts
TEXT_BYTES = 100_000  # as much as publishing judges on
WINDOW = 512  # tokens that are scored in one pass, as publishing does


@dataclass(frozen=True)
class Inputs:
    """JSON can hold it: contenders are other processes, some of another environment."""

    prompts: list[list[int]]
    tokens: int
    rounds: list[tuple[int, int]]
    windows: list[list[int]]
    """The text that is scored; the first token of each is given."""
    bytes: int
    """Of all scored tokens."""


def make_inputs(
    tokenizer: Tokenizer, text_bytes: int, rounds: dict[int, int] = ROUNDS, window: int = WINDOW
) -> Inputs:
    """Inputs in the vocabulary of `tokenizer`; `text_bytes` is how much is scored, `window` tokens at a time."""
    asked = WARM_UP + sum(clients * each for clients, each in rounds.items())
    prompts: list[list[int]] = []
    for text in held_out_excerpts(1536 * 2 * asked) if asked > WARM_UP else []:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        prompts += [ids[:PROMPT_TOKENS]] if len(ids) >= PROMPT_TOKENS else []
    windows: list[list[int]] = []
    for text in held_out_excerpts(text_bytes):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        windows += [ids[start : start + window] for start in range(0, len(ids), window)]
    windows = [each for each in windows if len(each) > 1]
    size = sum(len(tokenizer.decode(each[1:])) for each in windows)
    return Inputs(prompts[:asked], ANSWER_TOKENS, list(rounds.items()), windows, size)


def endless(prompts: list[list[int]]) -> Iterator[list[int]]:
    """As many prompts as are wanted, no two of which begin with the same token, for a model of many tokens."""
    for number in count():
        yield [number, *prompts[number % len(prompts)][1:]]
