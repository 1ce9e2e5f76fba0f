"""What a model's tokenizer files say, made ready for an artifact: as an exporter saved them they may cut or pad every
prompt, and hold what no answer needs.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from workloads.serving.architecture import UnsupportedModel, refuse
from workloads.serving.chat import ChatTemplate

CONFIG = "tokenizer_config.json"


def whole_texts(text: str, vocab_size: int) -> str:
    """The tokenizer of tokenizer.json, without a length of its own. Raises UnsupportedModel where it does not fit."""
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise UnsupportedModel(f"tokenizer.json cannot be read ({error}); export the folder again") from error
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= vocab_size:
        raise UnsupportedModel(
            f"tokenizer.json has token {highest}, config.json has vocab_size {vocab_size}; export both again"
        )
    tokenizer.no_truncation()  # who trained with it had a longest text, or batches to fill
    tokenizer.no_padding()
    return tokenizer.to_str()


def answering(config: Mapping[str, Any]) -> dict[str, str]:
    """Of a tokenizer_config.json what answering needs. Raises UnsupportedModel for what a server could not use."""
    found = {
        "bos_token": _token(config, "bos_token"),
        "eos_token": _token(config, "eos_token"),
        "chat_template": _template(config.get("chat_template")),
    }
    kept = {key: value for key, value in found.items() if value}
    if "chat_template" in kept:
        try:
            ChatTemplate(kept["chat_template"], kept)
        except TemplateError as error:
            raise UnsupportedModel(
                f"chat_template cannot be read ({error}); mend it, or publish without it: then only completions are "
                "answered"
            ) from error
    return kept


def _token(config: Mapping[str, Any], field: str) -> str:
    """A special token's text; older exporters wrote an object around it."""
    value = config.get(field) or ""
    text = value.get("content") if isinstance(value, dict) else value
    if not isinstance(text, str):
        refuse(field, value, "it must be text, or an object with it as content", "export again", CONFIG)
    return text


def _template(value: Any) -> str:
    """The text of the chat template: of several the one named default, which messages without tools are for."""
    if isinstance(value, list):
        named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
        value = named.get("default", list(named))
    if value is not None and not isinstance(value, str):
        rule = 'it must be text, or a list of {"name", "template"} with one named default'
        refuse("chat_template", value, rule, "export again, or leave it out", CONFIG)
    return value or ""
