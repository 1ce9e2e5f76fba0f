"""A decoder language model in Llama's layout, small enough to read in one go.

RMSNorm before each block, rotary positions in Hugging Face's half-rotation convention, grouped-query causal
attention, SwiGLU, no biases. Parameter names are those of transformers' LlamaForCausalLM without its "model."
prefix (export.py adds it), so nothing is transposed or permuted on the way out.
Left out: dropout (one pass over much data needs none), a key-value cache (serving's business).
Attention goes through the fastest kernel there is (FlashAttention where torch has it); `plain=True` spells it out.

Shapes: B sequences, T positions, C width, H heads, K key-value heads, D = C / H, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.training.tokens import VOCABULARY

MOST = {"layers": 2**12, "heads": 2**12, "key_value_heads": 2**12}
"""Far above any model known; the other sizes may be 2**20."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    width: int = 128  # C, the residual stream; a multiple of 64 keeps matrix tiles full
    layers: int = 2  # the fewest that can look up an earlier match; a third costs more than it brings
    heads: int = 4  # H, query heads; width / heads must be even for the rotation
    key_value_heads: int = 2  # K <= H; halves the cache when serving, at no loss seen at this size
    hidden: int = 384  # SwiGLU's inner width; about 8/3 of width costs what a plain 4x block would
    context: int = 128  # T, bytes seen at once; also the longest position the exported model promises
    tied: bool = True  # one matrix for reading and writing tokens
    rope_theta: float = 10_000.0  # longest wavelength of the rotary positions; usual for short contexts
    norm_eps: float = 1e-5  # keeps RMSNorm finite on a zero row
    vocabulary: int = VOCABULARY  # V, at least the data's ids; here all bytes and one end-of-text

    def problems(self) -> list[str]:
        """Every broken rule, one sentence each: field, value, rule, remedy. Empty when all fit."""
        found = []
        for name in ("width", "layers", "heads", "key_value_heads", "hidden", "context", "vocabulary"):
            if getattr(self, name) < 1:
                default = getattr(ModelConfig, name)
                found.append(f"{name}={getattr(self, name)}: must be at least 1; try {default}")
            elif getattr(self, name) > MOST.get(name, 2**20):
                found.append(f"{name}={getattr(self, name)}: must be at most {MOST.get(name, 2**20)}")
        for name in ("rope_theta", "norm_eps"):
            if not 0 < getattr(self, name) < math.inf:
                default = getattr(ModelConfig, name)
                found.append(f"{name}={getattr(self, name)}: must be above 0 and finite; try {default}")
        if found:
            return found  # the rules below divide by these
        if self.width % (2 * self.heads):
            nearest = 2 * self.heads * max(1, round(self.width / (2 * self.heads)))
            found.append(
                f"width={self.width}, heads={self.heads}: width / heads must be an even whole number, as "
                f"rotary positions turn pairs of values; try width={nearest}"
            )
        if self.heads % self.key_value_heads:
            fitting = [k for k in range(1, self.heads + 1) if self.heads % k == 0]
            found.append(
                f"key_value_heads={self.key_value_heads}: must divide heads={self.heads}, each key-value "
                f"head serves the same number of query heads; try one of {fitting}"
            )
        return found


def rotary_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (T, D) each; the angle of pair i repeats at i and i + D/2 (half-rotation)."""
    size = config.width // config.heads
    frequencies = config.rope_theta ** (-torch.arange(0, size, 2).float() / size)  # (D/2)
    angles = torch.outer(torch.arange(config.context).float(), frequencies).repeat(1, 2)  # (T, D)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + D/2]) of a (B, heads, T, D) tensor by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


def fused_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of queries (B, H, T, D) over keys and values (B, K, T, D), by torch's best kernel."""
    grouped = q.shape[1] != k.shape[1]
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same as `fused_attention` in its own words: what the kernels are held against."""
    k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for each in (k, v))  # (B, H, T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, T)
    later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(diagonal=1)  # (T, T)
    return scores.masked_fill(later, -math.inf).softmax(dim=-1) @ v


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, plain: bool) -> None:
        super().__init__()
        self.head_size = config.width // config.heads
        self.attend = plain_attention if plain else fused_attention
        shared = config.key_value_heads * self.head_size
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, shared, bias=False)
        self.v_proj = nn.Linear(config.width, shared, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        batch, time, width = x.shape  # B, T, C
        q = self.q_proj(x).view(batch, time, -1, self.head_size).transpose(1, 2)  # (B, H, T, D)
        k = self.k_proj(x).view(batch, time, -1, self.head_size).transpose(1, 2)  # (B, K, T, D)
        v = self.v_proj(x).view(batch, time, -1, self.head_size).transpose(1, 2)  # (B, K, T, D)
        q, k = rotate(q, cosines, sines).to(v.dtype), rotate(k, cosines, sines).to(v.dtype)
        y = self.attend(q, k, v)  # (B, H, T, D)
        return self.o_proj(y.transpose(1, 2).reshape(batch, time, width))


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, plain: bool) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config, plain)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    cosines: Tensor
    sines: Tensor

    def __init__(self, config: ModelConfig, plain: bool = False) -> None:
        """Weights come from torch's global generator: seed it first."""
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config, plain) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        cosines, sines = rotary_tables(config)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # What writes into the residual stream starts smaller: its variance must not grow with depth.
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.layers) if writes else 0.02)
        if config.tied:
            self.lm_head.weight = self.embed_tokens.weight

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for token ids (B, T); with targets (B, T), the loss of each position instead.

        The loss is in nats, float32, shape (B, T). T must not exceed the configured context.
        """
        x = self.embed_tokens(tokens)  # (B, T, C)
        time = tokens.shape[1]  # T
        for layer in self.layers:
            x = layer(x, self.cosines[:time], self.sines[:time])
        logits = self.lm_head(self.norm(x))  # (B, T, V)
        if targets is None:
            return logits
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), reduction="none"
        )  # (B * T)
        return losses.view_as(targets)

    def parameter_count(self) -> int:
        """Trainable values; a tied matrix counts once."""
        return sum(weight.numel() for weight in self.parameters())
