"""A Llama-layout decoder for answering one request at a time, in plain torch.

RMSNorm, rotary positions (the two halves of a head rotated against each other), grouped queries, SwiGLU, tied
or separate output. No batching, no training, no compilation. The residual stream and the norms are fp32;
matrices take what their scheme needs (fp32, or bf16 around int8 weights), and the cache has that dtype too.

Shapes: T tokens of this call, S positions so far, H heads, K key/value heads, D head size, C hidden size.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from workloads.serving.architecture import Architecture
from workloads.serving.linear import Int8Linear, Linear, PlainLinear


class Cache:
    """Keys and values of one request, (layers, K, capacity, D) each, and how many positions are filled."""

    def __init__(self, architecture: Architecture, capacity: int, dtype: torch.dtype) -> None:
        shape = (architecture.layers, architecture.kv_heads, capacity, architecture.head_dim)
        # empty, not zeros: pages of positions never reached are never touched
        self.keys, self.values = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
        self.filled = 0


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: torch.Tensor
    mlp_norm: torch.Tensor
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    gate: Linear
    up: Linear
    down: Linear


class Decoder:
    """The model over tensors named as in the artifact: `<name>` and, where it is int8, `<name>_scale`.

    Raises KeyError for a tensor that is missing.
    """

    def __init__(self, architecture: Architecture, tensors: dict[str, torch.Tensor]) -> None:
        self.architecture = architecture
        self._embedding = _linear(tensors, "model.embed_tokens.weight")
        self._output = self._embedding if architecture.tied_output else _linear(tensors, "lm_head.weight")
        self._norm = tensors["model.norm.weight"]
        self._layers = [_layer(tensors, f"model.layers.{index}.") for index in range(architecture.layers)]
        self.dtype = self._embedding.dtype
        steps = torch.arange(0, architecture.head_dim, 2, dtype=torch.float32) / architecture.head_dim
        self._frequencies = 1.0 / architecture.rope_theta**steps / architecture.rope_factor

    def new_cache(self, capacity: int) -> Cache:
        """Room for `capacity` positions, prompt and answer together."""
        return Cache(self.architecture, capacity, self.dtype)

    @torch.inference_mode()
    def forward(self, tokens: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Take `tokens` (T,) in after what `cache` holds; fp32 logits (vocabulary,) for the position after.

        Raises ValueError when the cache has no room for T more positions.
        """
        return self._output.scores(self._hidden(tokens, cache)[-1])

    @torch.inference_mode()
    def all_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """fp32 logits (T, vocabulary) of every position of `tokens` (T,), in one pass; for measuring."""
        hidden = self._hidden(tokens, self.new_cache(tokens.shape[0]))
        return torch.stack([self._output.scores(position) for position in hidden])

    def _hidden(self, tokens: torch.Tensor, cache: Cache) -> torch.Tensor:
        start, end = cache.filled, cache.filled + tokens.shape[0]
        if end > cache.keys.shape[2]:
            raise ValueError(f"cache holds {cache.keys.shape[2]} positions, {end} are needed; make it larger")
        angles = torch.arange(start, end, dtype=torch.float32)[:, None] * self._frequencies
        rotation = angles.cos()[:, None], angles.sin()[:, None]  # (T, 1, D/2), broadcast over heads
        # a later position sees all earlier ones; a single token sees everything and needs no mask
        mask = torch.ones(end - start, end, dtype=torch.bool).tril(start) if end - start > 1 else None
        x = self._embedding.rows(tokens)  # (T, C)
        for index, layer in enumerate(self._layers):
            x = x + self._attend(
                layer, index, self._normed(x, layer.attention_norm), rotation, mask, cache, end
            )
            inner = self._normed(x, layer.mlp_norm)
            x = x + layer.down(functional.silu(layer.gate(inner)) * layer.up(inner))
        cache.filled = end
        eps = self.architecture.rms_norm_eps
        return functional.rms_norm(x, self._norm.shape, self._norm, eps)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.architecture.rms_norm_eps).to(self.dtype)

    def _attend(
        self,
        layer: _Layer,
        index: int,
        x: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        cache: Cache,
        end: int,
    ) -> torch.Tensor:
        a, count = self.architecture, x.shape[0]
        keys, values = cache.keys[index], cache.values[index]  # (K, capacity, D)
        q = _rotate(layer.q(x).view(count, a.heads, a.head_dim), rotation).to(self.dtype)
        keys[:, end - count : end] = _rotate(
            layer.k(x).view(count, a.kv_heads, a.head_dim), rotation
        ).transpose(0, 1)
        values[:, end - count : end] = layer.v(x).view(count, a.kv_heads, a.head_dim).transpose(0, 1)
        mixed = functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            keys[None, :, :end],
            values[None, :, :end],
            attn_mask=mask,
            enable_gqa=True,
        )  # (1, H, T, D)
        return layer.o(mixed[0].transpose(0, 1).reshape(count, a.heads * a.head_dim))


def _rotate(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn each pair (first half, second half) of x (T, heads, D) by its position's angle; fp32 out."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = rotation
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _linear(tensors: dict[str, torch.Tensor], name: str) -> Linear:
    scale = tensors.get(f"{name}_scale")
    return PlainLinear(tensors[name]) if scale is None else Int8Linear(tensors[name], scale)


def _layer(tensors: dict[str, torch.Tensor], at: str) -> _Layer:
    return _Layer(
        attention_norm=tensors[f"{at}input_layernorm.weight"],
        mlp_norm=tensors[f"{at}post_attention_layernorm.weight"],
        q=_linear(tensors, f"{at}self_attn.q_proj.weight"),
        k=_linear(tensors, f"{at}self_attn.k_proj.weight"),
        v=_linear(tensors, f"{at}self_attn.v_proj.weight"),
        o=_linear(tensors, f"{at}self_attn.o_proj.weight"),
        gate=_linear(tensors, f"{at}mlp.gate_proj.weight"),
        up=_linear(tensors, f"{at}mlp.up_proj.weight"),
        down=_linear(tensors, f"{at}mlp.down_proj.weight"),
    )
