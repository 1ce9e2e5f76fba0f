"""What a model's tokenizer files say, made ready for an artifact: as an exporter saved them they may cut or pad every
prompt, and hold what no answer needs.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer

from workloads.serving.architecture import UnsupportedModel, refuse
from workloads.serving.chat import TEMPLATE, ChatTemplate

CONFIG = "tokenizer_config.json"
NAMED = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
"""Special tokens that every tokenizer of transformers may have; a model may add others, called NAME_token."""
GROUPS = ("extra_special_tokens", "model_specific_special_tokens", "additional_special_tokens")
"""Where exporters keep others: an object from names to tokens, or a list."""
TRIAL = [{"role": "user", "content": "Hello"}]


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


def answering(config: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Of a tokenizer_config.json what answering needs: special tokens, and a template that renders a message.

    Raises UnsupportedModel for what a server could not use.
    """
    kept = special_tokens(config)
    if template := _template(config.get(TEMPLATE)):
        kept[TEMPLATE] = template
        _try(template, kept)
    return kept


def special_tokens(config: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Every special token that `config` names, as text; those without a name are the list additional_special_tokens.

    Raises UnsupportedModel for one of NAMED that is no text.
    """
    found: dict[str, str | list[str]] = {}
    for group in (config.get(name) for name in GROUPS):
        if isinstance(group, list):
            texts = [text for text in map(_text, group) if text]
            found["additional_special_tokens"] = texts
        named = group.items() if isinstance(group, dict) else ()
        found |= {name: text for name, value in named if (text := _text(value))}
    for name, value in config.items():
        text = _text(value)
        if name in NAMED and value and text is None:
            refuse(name, value, "it must be text, or an object with it as content", "export again", CONFIG)
        if name.endswith("_token") and text:  # others are settings, such as add_bos_token
            found[name] = text
    return {name: value for name, value in found.items() if value}


def _text(token: Any) -> str | None:
    """A special token's text; older exporters wrote an object around it. None where it is something else."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _try(template: str, tokens: Mapping[str, Any]) -> None:
    """Render a message, as each chat will have one. Raises UnsupportedModel."""
    remedy = "mend it, or publish without it: then only completions are answered"
    try:
        ready = ChatTemplate(template, tokens)
    except TemplateError as error:
        raise UnsupportedModel(f"{TEMPLATE} cannot be read ({error}); {remedy}") from error
    try:
        ready.text(TRIAL)
    except Exception as error:  # it computes
        why = f"{type(error).__name__}: {error}"
        raise UnsupportedModel(f"{TEMPLATE} cannot render {TRIAL} ({why}); {remedy}") from error


def _template(value: Any) -> str:
    """The text of the chat template: of several the one named default, which messages without tools are for."""
    if isinstance(value, list):
        named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
        value = named.get("default", list(named))
    if value is not None and not isinstance(value, str):
        rule = 'it must be text, or a list of {"name", "template"} with one named default'
        refuse("chat_template", value, rule, "export again, or leave it out", CONFIG)
    return value or ""
