"""A Llama-layout decoder that takes many sequences through one pass, in plain torch.

RMSNorm, rotary positions (the two halves of a head rotated against each other), grouped queries, SwiGLU, tied
or separate output. No training. The residual stream and the norms are fp32; matrices take what their scheme
needs (fp32, or bf16 around int8 weights), and the cache has that dtype too.

The tokens of a pass are one flat row: first one token of each sequence that decodes, then pieces of prompts.
Only attention looks at sequences; everything else, where nearly all of the work is, treats all tokens alike.

Shapes: T tokens of this pass, N sequences that decode, S positions of the longest, H heads, K key/value
heads, D head size, C hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from workloads.serving.architecture import Architecture
from workloads.serving.linear import Linear, matrix


class Cache:
    """Keys and values of all sequences, a (positions, K, D) each per layer; which are whose, others decide."""

    def __init__(self, architecture: Architecture, positions: int, dtype: torch.dtype) -> None:
        shape = (architecture.layers, positions, architecture.kv_heads, architecture.head_dim)
        # zeros: a masked position counts nothing times its value, and nothing times what lay in memory may be
        # NaN; the system hands zeros out page by page, so what is never reached takes no memory
        self.keys, self.values = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `first` to `last` of a pass: a piece of one prompt, seeing the cache at `places` (S,)."""

    first: int
    last: int
    places: torch.Tensor
    mask: torch.Tensor
    """(T of the piece, S): each position sees itself and all before it."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What goes through the model at once. `places` say where in the cache a position lies."""

    tokens: torch.Tensor
    """(T,)"""
    positions: torch.Tensor
    """(T,): of each token in its own sequence."""
    places: torch.Tensor
    """(T,): where its key and value go."""
    decoding: torch.Tensor | None
    """(N, S): where the positions of each decoding sequence lie; beyond its end anything."""
    mask: torch.Tensor | None
    """(N, 1, 1, S): which of `decoding` are before its end; None: all."""
    chunks: Sequence[Chunk]
    wanted: torch.Tensor
    """Tokens whose scores are asked for."""


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
    """The model over tensors named as in the artifact; what kind of matrix each is, `linear.matrix` reads.

    Raises KeyError for a tensor that is missing and UnsupportedScheme where this machine does not compute one.
    """

    def __init__(self, architecture: Architecture, tensors: dict[str, torch.Tensor]) -> None:
        self.architecture = architecture
        self._embedding = matrix(tensors, "model.embed_tokens.weight")
        self._output = self._embedding if architecture.tied_output else matrix(tensors, "lm_head.weight")
        self._norm = tensors["model.norm.weight"]
        self._layers = [_layer(tensors, f"model.layers.{index}.") for index in range(architecture.layers)]
        self.dtype = self._embedding.dtype
        steps = torch.arange(0, architecture.head_dim, 2, dtype=torch.float32) / architecture.head_dim
        self._frequencies = 1.0 / architecture.rope_theta**steps / architecture.rope_factor

    @property
    def position_bytes(self) -> int:
        """Bytes of cache that one position takes over all layers."""
        a = self.architecture
        return 2 * a.layers * a.kv_heads * a.head_dim * self.dtype.itemsize

    def new_cache(self, positions: int) -> Cache:
        """Room for `positions` positions of all sequences together."""
        return Cache(self.architecture, positions, self.dtype)

    @torch.inference_mode()
    def forward(self, step: Pass, cache: Cache) -> torch.Tensor:
        """Write the keys and values of `step` into `cache`; fp32 scores (wanted, vocabulary)."""
        hidden = self._hidden(step, cache)[step.wanted]
        if not hidden.shape[0]:  # a prompt in its middle; not every kernel takes no rows at all
            return hidden.new_empty(0, self.architecture.vocab_size)
        return self._output.scores(hidden)

    @torch.inference_mode()
    def all_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """fp32 logits (T, vocabulary) of every position of `tokens` (T,), in one pass; for measuring."""
        count = tokens.shape[0]
        places = torch.arange(count)
        whole = Chunk(0, count, places, causal(0, count))
        step = Pass(tokens, places, places, decoding=None, mask=None, chunks=[whole], wanted=places)
        return self.forward(step, self.new_cache(count))

    def _hidden(self, step: Pass, cache: Cache) -> torch.Tensor:
        angles = step.positions.to(torch.float32)[:, None] * self._frequencies
        rotation = angles.cos()[:, None], angles.sin()[:, None]  # (T, 1, D/2), broadcast over heads
        x = self._embedding.rows(step.tokens)  # (T, C)
        for index, layer in enumerate(self._layers):
            keys, values = cache.keys[index], cache.values[index]
            x = x + self._attend(layer, self._normed(x, layer.attention_norm), rotation, step, keys, values)
            inner = self._normed(x, layer.mlp_norm)
            x = x + layer.down(functional.silu(layer.gate(inner)) * layer.up(inner))
        return functional.rms_norm(x, self._norm.shape, self._norm, self.architecture.rms_norm_eps)

    def _normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.architecture.rms_norm_eps).to(self.dtype)

    def _attend(
        self,
        layer: _Layer,
        x: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        step: Pass,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        a, count = self.architecture, x.shape[0]
        q = _rotate(layer.q(x).view(count, a.heads, a.head_dim), rotation).to(self.dtype)
        k = _rotate(layer.k(x).view(count, a.kv_heads, a.head_dim), rotation).to(self.dtype)
        keys.index_copy_(0, step.places, k)
        values.index_copy_(0, step.places, layer.v(x).view(count, a.kv_heads, a.head_dim))
        parts = []
        if step.decoding is not None:  # each token is a sequence of its own
            decoding, single = step.decoding, q[: step.decoding.shape[0], :, None]
            parts.append(_mix(single, keys[decoding], values[decoding], step.mask))
        for chunk in step.chunks:
            piece, places = q[chunk.first : chunk.last].transpose(0, 1)[None], chunk.places
            mixed = _mix(piece, keys[places][None], values[places][None], chunk.mask)
            parts.append(mixed[0].transpose(0, 1))
        mixed = torch.cat([part.reshape(-1, a.heads * a.head_dim) for part in parts])
        return layer.o(mixed)


def causal(start: int, end: int) -> torch.Tensor:
    """(end - start, end): positions `start` to `end` see themselves and all before them."""
    return torch.ones(end - start, end, dtype=torch.bool).tril(start)


def _mix(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention of q (N, H, T, D) over keys and values (N, S, K, D)."""
    return functional.scaled_dot_product_attention(
        q, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, enable_gqa=True
    )


def _rotate(x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn each pair (first half, second half) of x (T, heads, D) by its position's angle; fp32 out."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = rotation
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _layer(tensors: dict[str, torch.Tensor], at: str) -> _Layer:
    return _Layer(
        attention_norm=tensors[f"{at}input_layernorm.weight"],
        mlp_norm=tensors[f"{at}post_attention_layernorm.weight"],
        q=matrix(tensors, f"{at}self_attn.q_proj.weight"),
        k=matrix(tensors, f"{at}self_attn.k_proj.weight"),
        v=matrix(tensors, f"{at}self_attn.v_proj.weight"),
        o=matrix(tensors, f"{at}self_attn.o_proj.weight"),
        gate=matrix(tensors, f"{at}mlp.gate_proj.weight"),
        up=matrix(tensors, f"{at}mlp.up_proj.weight"),
        down=matrix(tensors, f"{at}mlp.down_proj.weight"),
    )
