"""What was asked, as tokens: a text that cannot fit is refused before it is cut into them.

Cutting a few megabytes takes seconds and hundreds of megabytes of memory.
"""

from workloads.serving.openai import Ask
from workloads.serving.protocol import ApiError
from workloads.serving.state import Loaded
from workloads.serving.terms import longest


def prompt_tokens(ask: Ask, name: str, loaded: Loaded) -> list[int]:
    """The tokens of what model `name` was asked. Raises ApiError(400) where it cannot take it."""
    if loaded.embed is not None:
        message = f"model {name!r} is an encoder, it continues no text; use /v1/embeddings"
        raise ApiError(400, message, "model", code="not_a_decoder")
    for token, _ in ask.options.logit_bias:
        _check("logit_bias", token, loaded)
    for token in ask.options.stop_tokens:
        _check("stop_token_ids", token, loaded)
    if ask.messages is not None:
        if loaded.template is None:
            message = f"model {name!r} has no chat template, it continues text; use /v1/completions"
            raise ApiError(400, message, "messages", code="no_chat_template")
        # the template has written every special token that belongs there
        return _cut("messages", loaded.template.render(ask.messages), loaded, special=False)
    if isinstance(ask.prompt, list):
        for token in ask.prompt:
            _check("prompt", token, loaded)
        return ask.prompt
    return _cut("prompt", ask.prompt or "", loaded, special=True)


def _check(field: str, token: int, loaded: Loaded) -> None:
    if not 0 <= token < loaded.vocab_size:
        message = f"{field} holds token {token}; this model's tokens are 0 to {loaded.vocab_size - 1}"
        raise ApiError(400, message, field, code="invalid_value")


def _cut(field: str, text: str, loaded: Loaded, special: bool) -> list[int]:
    size, most = len(text.encode()), loaded.context_length * loaded.token_bytes
    if size > most:
        raise ApiError(
            400,
            f"{longest(loaded.context_length)} of at most {loaded.token_bytes} bytes, so {most} bytes is the most that "
            f"can fit; {field} has {size} bytes; shorten it",
            field,
            code="context_length_exceeded",
        )
    # a batch of one: unlike `encode`, it lets the event loop and the model go on meanwhile
    return loaded.tokenizer.encode_batch_fast([text], add_special_tokens=special)[0].ids
