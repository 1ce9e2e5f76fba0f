"""The shape of a sentence encoder in BERT's layout, read from a Hugging Face config and written into our artifact.

Learned positions, LayerNorm after each block, exact GELU, mean pooling over all tokens, vectors of length 1. Anything
else is refused by name rather than loaded almost right.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workloads.serving.architecture import UnsupportedModel, real, refuse, whole


@dataclass(frozen=True, slots=True)
class EncoderArchitecture:
    """Sizes of one encoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    positions: int
    context_length: int
    """Tokens of a text, start and end included; what the model was trained for, at most `positions`."""
    types: int
    layer_norm_eps: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "EncoderArchitecture":
        """Rebuild from `to_dict`. Raises TypeError for other keys."""
        return cls(**stored)

    @classmethod
    def from_hf(
        cls, config: Mapping[str, Any], limits: Mapping[str, Any], pooling: Mapping[str, Any]
    ) -> "EncoderArchitecture":
        """Read a `config.json` of BertModel, and sentence-transformers' limit and pooling where it has them.

        Raises UnsupportedModel naming field, value and rule.
        """
        for field, allowed in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(field, allowed) != allowed:
                refuse(
                    field, config[field], f"the encoder computes {allowed!r} only", "use a model without it"
                )
        other = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode_") and on]
        if other not in ([], ["pooling_mode_mean_tokens"]):
            raise UnsupportedModel(
                f"1_Pooling/config.json: {', '.join(other)}; the encoder takes the mean over all tokens only; "
                "use a model with pooling_mode_mean_tokens alone"
            )
        hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
        if hidden % heads:
            refuse("num_attention_heads", heads, f"it must divide hidden_size, {hidden}", "use another model")
        positions = whole(config, "max_position_embeddings")
        return cls(
            vocab_size=whole(config, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=whole(config, "intermediate_size"),
            layers=whole(config, "num_hidden_layers"),
            heads=heads,
            positions=positions,
            context_length=min(
                whole(limits, "max_seq_length", positions, "sentence_bert_config.json"), positions
            ),
            types=whole(config, "type_vocab_size"),
            layer_norm_eps=real(config, "layer_norm_eps"),
        )

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor the encoder needs, under its Hugging Face name, with its shape (rows, columns)."""
        hidden, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, hidden),
            "embeddings.position_embeddings.weight": (self.positions, hidden),
            "embeddings.token_type_embeddings.weight": (self.types, hidden),
        }
        norms = ["embeddings.LayerNorm"]
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}."
            norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
            for name, rows, columns in (
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", inner, hidden),
                ("output.dense", hidden, inner),
            ):
                shapes |= {f"{at}{name}.weight": (rows, columns), f"{at}{name}.bias": (rows,)}
        return shapes | {f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")}
