"""A model's own chat template, rendered the way Hugging Face templates expect."""

import json
from datetime import UTC, datetime
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workloads.serving.protocol import ApiError


class ChatTemplate:
    """Renders messages to the text a model was trained to answer. Raises TemplateError if it is broken."""

    def __init__(self, template: str, tokenizer_config: dict[str, Any]) -> None:
        # sandboxed: the template came with the model, and a model is data
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        self._template = environment.from_string(template)
        self._tokens = {key: tokenizer_config.get(key, "") for key in ("bos_token", "eos_token")}

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt for `messages`. Raises ApiError(400) where the template refuses them."""
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)
        except Exception as error:  # a template computes, so it raises what Python raises, too
            # only what a template itself says is told: other errors may quote a message
            why = str(error) if isinstance(error, TemplateError) else f"it raised {type(error).__name__}"
            raise ApiError(
                400, f"messages do not fit this model's chat template: {why}", "messages"
            ) from error


def _raise(message: str) -> None:
    raise TemplateError(message)
