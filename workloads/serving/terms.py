"""The words in which routes, queue and model speak of one answer. No torch: routes answer without it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer. `max_tokens` counts new tokens; `seed` None draws one."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One step: new text (may be ""), tokens made so far, and in the last piece why it ended."""

    text: str
    tokens: int
    finish_reason: Literal["stop", "length", "cancelled"] | None = None


class PromptTooLong(Exception):
    """Prompt and answer do not fit the model's context; the message gives the numbers and the remedy."""


def check_length(prompt: int, max_tokens: int, context: int) -> None:
    """Raises PromptTooLong unless `prompt` + `max_tokens` tokens fit into `context`."""
    if prompt + max_tokens > context:
        raise PromptTooLong(
            f"the prompt has {prompt} tokens and max_tokens is {max_tokens}, together {prompt + max_tokens}; "
            f"this model's context is {context} tokens; shorten the prompt or lower max_tokens"
        )
