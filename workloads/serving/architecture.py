"""The shape of a Llama-layout decoder, read from a Hugging Face config and written into our artifact.

One fixed layout: RMSNorm, rotary positions, grouped queries, SwiGLU, no biases. Anything else is refused by
name rather than loaded almost right.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

ROPE_TYPES = ("default", "linear")  # what model.py computes; the others need tables we do not have
CONFIG = "config.json"
_WHOLE_CONFIG = "export the whole config"


class UnsupportedModel(Exception):
    """A model asks for something this decoder does not compute; the message names the field and the rule."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one decoder. Raises nothing itself; `from_hf` is where a foreign config is judged."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context_length: int
    """Positions the model was trained for; prompt and answer together may not be longer."""
    rms_norm_eps: float
    rope_theta: float
    rope_factor: float
    """Positions are divided by this (linear scaling); 1.0 is no scaling."""
    tied_output: bool
    """The output matrix is the embedding matrix, stored once."""
    eos_token_ids: tuple[int, ...]
    """Tokens that end an answer; may be empty, then only max_tokens and stop strings end it."""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "eos_token_ids": list(self.eos_token_ids)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Architecture":
        """Rebuild from `to_dict`. Raises TypeError or KeyError for other keys."""
        return cls(**{**stored, "eos_token_ids": tuple(stored["eos_token_ids"])})

    @classmethod
    def from_hf(
        cls, config: Mapping[str, Any], generation: Mapping[str, Any] | None = None
    ) -> "Architecture":
        """Read a `config.json` of LlamaForCausalLM; its `generation_config.json` may name further end tokens.

        Raises UnsupportedModel naming field, value and rule.
        """
        architectures = config.get("architectures")
        if architectures != ["LlamaForCausalLM"]:
            refuse(
                "architectures", architectures, 'only ["LlamaForCausalLM"] is served', "export in that layout"
            )
        for field, allowed in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
            if config.get(field, allowed) != allowed:
                refuse(
                    field, config[field], f"the decoder computes {allowed!r} only", "use a model without it"
                )
        heads, hidden = whole(config, "num_attention_heads"), whole(config, "hidden_size")
        kv_heads, vocab_size = whole(config, "num_key_value_heads", heads), whole(config, "vocab_size")
        if heads % kv_heads:
            refuse(
                "num_key_value_heads", kv_heads, f"it must divide num_attention_heads, {heads}", _WHOLE_CONFIG
            )
        head_dim = whole(config, "head_dim", hidden // heads)
        if head_dim % 2 or not head_dim:
            refuse("head_dim", head_dim, "positions turn pairs, so it must be even", "use another model")
        theta, factor = _rope(config)
        ends = _token_ids(config, vocab_size) + _token_ids(
            generation or {}, vocab_size, "generation_config.json"
        )
        return cls(
            vocab_size=vocab_size,
            hidden_size=hidden,
            intermediate_size=whole(config, "intermediate_size"),
            layers=whole(config, "num_hidden_layers"),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            context_length=whole(config, "max_position_embeddings"),
            rms_norm_eps=real(config, "rms_norm_eps"),
            rope_theta=theta,
            rope_factor=factor,
            tied_output=config.get("tie_word_embeddings") is True,
            eos_token_ids=tuple(dict.fromkeys(ends)),
        )

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor the decoder needs, under its Hugging Face name, with its shape (rows, columns)."""
        hidden, inner = self.hidden_size, self.intermediate_size
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, hidden),
            "model.norm.weight": (hidden,),
        }
        if not self.tied_output:
            shapes["lm_head.weight"] = (self.vocab_size, hidden)
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            shapes |= {
                f"{at}input_layernorm.weight": (hidden,),
                f"{at}post_attention_layernorm.weight": (hidden,),
                f"{at}self_attn.q_proj.weight": (q, hidden),
                f"{at}self_attn.k_proj.weight": (kv, hidden),
                f"{at}self_attn.v_proj.weight": (kv, hidden),
                f"{at}self_attn.o_proj.weight": (hidden, q),
                f"{at}mlp.gate_proj.weight": (inner, hidden),
                f"{at}mlp.up_proj.weight": (inner, hidden),
                f"{at}mlp.down_proj.weight": (hidden, inner),
            }
        return shapes


def _rope(config: Mapping[str, Any]) -> tuple[float, float]:
    """(theta, factor). Newer exports keep both in rope_parameters, older ones the factor in rope_scaling."""
    rope: dict[str, Any] = {}
    for field in ("rope_scaling", "rope_parameters"):
        found = config.get(field) or {}
        if not isinstance(found, dict):
            refuse(field, found, "it must be an object or null", _WHOLE_CONFIG)
        rope |= found
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPE_TYPES:
        refuse("rope_type", kind, f"known are {', '.join(ROPE_TYPES)}", "use a model without that scaling")
    theta = real(rope, "rope_theta", real(config, "rope_theta", 10000.0))
    return theta, real(rope, "factor") if kind == "linear" else 1.0


def _token_ids(config: Mapping[str, Any], vocab_size: int, file: str = CONFIG) -> list[int]:
    """The end tokens of a config: none, one or several."""
    value = config.get("eos_token_id")
    found = value if isinstance(value, list) else [] if value is None else [value]
    if any(type(one) is not int or not 0 <= one < vocab_size for one in found):
        rule = f"token ids are whole numbers from 0 to {vocab_size - 1}"
        refuse("eos_token_id", value, rule, "export the model and its tokenizer together", file)
    return found


def whole(config: Mapping[str, Any], field: str, absent: int | None = None, file: str = CONFIG) -> int:
    """The size at `field`, or `absent` where a model may leave it out. Raises UnsupportedModel."""
    value = _given(config, field, absent, file)
    if type(value) is not int or value < 1:  # True is an int, and no size
        refuse(field, value, "it must be a whole number of at least 1", _WHOLE_CONFIG, file)
    return value


def real(config: Mapping[str, Any], field: str, absent: float | None = None) -> float:
    """The number above 0 at `field`, or `absent` where a model may leave it out. Raises UnsupportedModel."""
    value = _given(config, field, absent, CONFIG)
    if type(value) not in (int, float) or not 0 < value < math.inf:
        refuse(field, value, "it must be a number above 0", _WHOLE_CONFIG)
    return float(value)


def _given(config: Mapping[str, Any], field: str, absent: float | None, file: str) -> Any:
    if absent is not None and config.get(field) is None:
        return absent
    if field not in config:
        raise UnsupportedModel(f"{file}: field {field!r} is missing; {_WHOLE_CONFIG}")
    return config[field]


def refuse(field: str, value: object, rule: str, remedy: str, file: str = CONFIG) -> NoReturn:
    """Raise UnsupportedModel: what a config says, and why it is not served."""
    raise UnsupportedModel(f"{file}: {field} is {value!r}; {rule}; {remedy}")
