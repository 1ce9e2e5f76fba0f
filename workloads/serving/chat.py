"""A model's own chat template, rendered as transformers renders it (`apply_chat_template`, read in 5.23 on 2026-12-01):
the same names, filters and tags, so that a template needs no change to be served here."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workloads.serving.protocol import ApiError

TEMPLATE = "chat_template"
"""The field of a tokenizer_config.json beside the special tokens."""


class Generation(Extension):
    """`{% generation %}`: marks what an assistant has said, for training. Rendered, it is what it holds."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class ChatTemplate:
    """Renders messages to the text a model was trained to answer. Raises TemplateError if it is broken."""

    def __init__(self, template: str, tokenizer_config: Mapping[str, Any]) -> None:
        # sandboxed: the template came with the model, and a model is data
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
        environment.filters["tojson"] = _tojson
        self._template = environment.from_string(template)
        self._tokens = {name: value for name, value in tokenizer_config.items() if name != TEMPLATE}

    def text(self, messages: list[dict[str, str]]) -> str:
        """The prompt for `messages`. Raises whatever the template raises: it computes."""
        return self._template.render(
            **self._tokens, messages=messages, tools=None, documents=None, add_generation_prompt=True
        )

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt for `messages`. Raises ApiError(400) where the template refuses them."""
        try:
            return self.text(messages)
        except Exception as error:  # a template computes, so it raises what Python raises, too
            # only what a template itself says is told: other errors may quote a message
            why = str(error) if isinstance(error, TemplateError) else f"it raised {type(error).__name__}"
            raise ApiError(
                400,
                f"messages do not fit this model's chat template: {why}",
                "messages",
                code="invalid_value",
            ) from error


def _raise(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: Jinja's own filter would escape what HTML cannot hold."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
