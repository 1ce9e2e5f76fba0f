"""The shape of a Llama-layout decoder, read from a Hugging Face config and written into our artifact.

One fixed layout: RMSNorm, rotary positions, grouped queries, SwiGLU, no biases. Anything else is refused by
name rather than loaded almost right.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROPE_TYPES = ("default", "linear")  # what model.py computes; the others need tables we do not have


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
    def from_hf(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read a `config.json` of LlamaForCausalLM. Raises UnsupportedModel naming field, value and rule."""
        architectures = config.get("architectures")
        if architectures != ["LlamaForCausalLM"]:
            _refuse(
                "architectures", architectures, 'only ["LlamaForCausalLM"] is served', "export in that layout"
            )
        for field, allowed in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
            if config.get(field, allowed) != allowed:
                _refuse(
                    field, config[field], f"the decoder computes {allowed!r} only", "use a model without it"
                )
        try:
            heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
            theta, factor = _rope(config)
            return cls(
                vocab_size=int(config["vocab_size"]),
                hidden_size=hidden,
                intermediate_size=int(config["intermediate_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or hidden // heads),
                context_length=int(config["max_position_embeddings"]),
                rms_norm_eps=float(config["rms_norm_eps"]),
                rope_theta=theta,
                rope_factor=factor,
                tied_output=bool(config.get("tie_word_embeddings", False)),
                eos_token_ids=_token_ids(config.get("eos_token_id")),
            )
        except KeyError as error:
            raise UnsupportedModel(
                f"config.json: field {error} is missing; export the whole config"
            ) from error

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
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPE_TYPES:
        _refuse("rope_type", kind, f"known are {', '.join(ROPE_TYPES)}", "use a model without that scaling")
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    return theta, float(rope["factor"]) if kind == "linear" else 1.0


def _token_ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def _refuse(field: str, value: object, rule: str, remedy: str) -> None:
    raise UnsupportedModel(f"config.json: {field} is {value!r}; {rule}; {remedy}")
