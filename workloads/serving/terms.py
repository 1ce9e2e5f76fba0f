"""The words in which routes, queue and model speak of one answer. No torch: routes answer without it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer. `max_tokens` counts new tokens; `seed` None draws one."""

    max_tokens: int
    temperature: float = 1.0
    """0 takes the likeliest token; above, scores are divided by it before drawing."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together reach this chance; 1 is all."""
    top_k: int = 0
    """Draw among this many of the likeliest tokens; 0 is all."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    min_tokens: int = 0
    """No end token before this many new tokens; stop strings end an answer all the same."""
    presence_penalty: float = 0.0
    """Taken once from the score of every token that the answer already holds."""
    frequency_penalty: float = 0.0
    """Taken from a token's score once for each time that the answer holds it."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token, added to its score), before anything else."""
    ignore_eos: bool = False
    """The model's own end tokens are text as any other and end nothing."""
    stop_tokens: tuple[int, ...] = ()
    """Tokens that end an answer as the model's own end tokens do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One step: new text (may be ""), tokens made so far, and in the last piece why it ended."""

    text: str
    tokens: int
    finish_reason: Literal["stop", "length", "cancelled"] | None = None


@dataclass(slots=True)
class Counts:
    """What the engine has done since it started. Written by one thread, read by any."""

    steps: int = 0
    """Passes through the model."""
    decode_steps: int = 0
    """Passes in which at least one answer took its next token: under load far fewer than tokens."""
    fast_steps: int = 0
    """Passes through compiled layers; 0 says that this server runs on the plain path."""
    prompt_tokens: int = 0
    """Tokens of the prompts that were let in."""
    prefix_tokens: int = 0
    """Of these, tokens whose keys and values lay in the cache already."""
    prefill_tokens: int = 0
    """Of these, tokens that were computed."""
    generated_tokens: int = 0


class GivenUp(Exception):
    """Nobody waits for this any more."""


class PromptTooLong(Exception):
    """Prompt and answer do not fit; the message gives the numbers and the remedy."""


def longest(context: int) -> str:
    """The sentence by which clients know a prompt that is too long: LiteLLM and LangChain look for these words."""
    return f"This model's maximum context length is {context} tokens"


def check_length(prompt: int, max_tokens: int, context: int) -> None:
    """Raises PromptTooLong unless `prompt` + `max_tokens` tokens fit into `context`."""
    if prompt + max_tokens > context:
        raise PromptTooLong(
            f"{longest(context)}; the prompt has {prompt} tokens and max_tokens is {max_tokens}, together "
            f"{prompt + max_tokens}; shorten the prompt or lower max_tokens"
        )
