"""A Llama-layout decoder that takes many sequences through one pass, in plain torch.

RMSNorm, rotary positions (the two halves of a head rotated against each other), grouped queries, SwiGLU, tied
or separate output (layer.py). No training. The residual stream and the norms are fp32; matrices take what their scheme
needs (fp32, or bf16 around int8 weights), and the cache has that dtype too.

The tokens of a pass are one flat row: first one token of each sequence that decodes, then pieces of prompts.
Only attention looks at sequences; everything else, where nearly all of the work is, treats all tokens alike.

Shapes: T tokens of this pass, N sequences that decode, S positions of the longest, H heads, K key/value
heads, D head size, C hidden size.
"""

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from workloads.serving.architecture import Architecture
from workloads.serving.layer import Attend, Layer, Rotation, layer_forward
from workloads.serving.linear import matrix


class Cache:
    """Keys and values of all sequences, (positions, K, D) for each layer; which are whose, others decide."""

    def __init__(
        self, architecture: Architecture, positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (architecture.layers, positions, architecture.kv_heads, architecture.head_dim)
        self.keys = _zeros(shape, dtype, device).unbind()
        self.values = _zeros(shape, dtype, device).unbind()


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros: a masked position counts nothing times its value, and nothing times what lay in memory may be NaN.

    On a CPU straight from the system, which hands out a page when it is first reached: torch.zeros takes all at once.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


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


class Fast(Protocol):
    """A faster way through all layers for passes that only decode; compile.py makes one."""

    sequences: int  # as many as one pass may hold

    def __call__(self, x: torch.Tensor, rotation: Rotation, step: Pass, cache: Cache) -> torch.Tensor: ...


class Decoder:
    """The model over tensors named as in the artifact; what kind of matrix each is, `linear.matrix` reads.

    Raises KeyError for a tensor that is missing and UnsupportedScheme where this machine does not compute one.
    """

    def __init__(self, architecture: Architecture, tensors: dict[str, torch.Tensor]) -> None:
        self.architecture = architecture
        self._embedding = matrix(tensors, "model.embed_tokens.weight")
        self._output = self._embedding if architecture.tied_output else matrix(tensors, "lm_head.weight")
        self._norm = tensors["model.norm.weight"]
        self.layers = [Layer.read(tensors, f"model.layers.{index}.") for index in range(architecture.layers)]
        self.dtype = self._embedding.dtype
        self.device = self._embedding.device
        self.fast: Fast | None = None  # may be set while answers are made: the next pass takes it
        steps = torch.arange(0, architecture.head_dim, 2, dtype=torch.float32, device=self.device)
        steps /= architecture.head_dim
        self._frequencies = 1.0 / architecture.rope_theta**steps / architecture.rope_factor

    @property
    def position_bytes(self) -> int:
        """Bytes of cache that one position takes over all layers."""
        a = self.architecture
        return 2 * a.layers * a.kv_heads * a.head_dim * self.dtype.itemsize

    def fast_for(self, step: Pass) -> Fast | None:
        """The fast way, where there is one and `step` may go it."""
        fits = self.fast is not None and not step.chunks and step.tokens.shape[0] <= self.fast.sequences
        return self.fast if fits else None

    def new_cache(self, positions: int) -> Cache:
        """Room for `positions` positions of all sequences together."""
        return Cache(self.architecture, positions, self.dtype, self.device)

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
        places = torch.arange(count, device=self.device)
        whole = Chunk(0, count, places, causal(0, count, self.device))
        step = Pass(
            tokens.to(self.device), places, places, decoding=None, mask=None, chunks=[whole], wanted=places
        )
        return self.forward(step, self.new_cache(count))

    def _hidden(self, step: Pass, cache: Cache) -> torch.Tensor:
        angles = step.positions.to(torch.float32)[:, None] * self._frequencies
        rotation = angles.cos()[:, None], angles.sin()[:, None]  # (T, 1, D/2), broadcast over heads
        x = self._embedding.rows(step.tokens)  # (T, C)
        if (fast := self.fast_for(step)) is not None:
            x = fast(x, rotation, step, cache)
        else:
            for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
                x = layer_forward(self.architecture, layer, x, rotation, _attend(step, keys, values))
        return functional.rms_norm(x, self._norm.shape, self._norm, self.architecture.rms_norm_eps)


def _attend(step: Pass, keys: torch.Tensor, values: torch.Tensor) -> Attend:
    """Attention of `step` over one layer's part of the cache, which takes the new keys and values in."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        keys.index_copy_(0, step.places, k)
        values.index_copy_(0, step.places, v)
        parts = []
        if step.decoding is not None:  # each token is a sequence of its own
            decoding, single = step.decoding, q[: step.decoding.shape[0], :, None]
            parts.append(_mix(single, keys[decoding], values[decoding], step.mask))
        for chunk in step.chunks:
            piece, places = q[chunk.first : chunk.last].transpose(0, 1)[None], chunk.places
            mixed = _mix(piece, keys[places][None], values[places][None], chunk.mask)
            parts.append(mixed[0].transpose(0, 1))
        return torch.cat([part.reshape(-1, q.shape[1] * q.shape[2]) for part in parts])

    return attend


def causal(start: int, end: int, device: torch.device) -> torch.Tensor:
    """(end - start, end): positions `start` to `end` see themselves and all before them."""
    return torch.ones(end - start, end, dtype=torch.bool, device=device).tril(start)


def _mix(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention of q (N, H, T, D) over keys and values (N, S, K, D)."""
    return functional.scaled_dot_product_attention(
        q, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, enable_gqa=True
    )
