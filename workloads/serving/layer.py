"""One layer of the decoder, over tokens of any sequences: what is computed, whoever runs it.

Which keys a token sees is the caller's: `attend` takes q (T, H, D), k and v (T, K, D), keeps the latter two and
gives what each token reads, (T, H * D). model.py has a plain one, compile.py one that a compiler fuses.

Shapes: T tokens, H heads, K key/value heads, D head size, C hidden size.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch.nn import functional

from workloads.serving.architecture import Architecture
from workloads.serving.linear import Linear, matrix

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines (T, 1, D / 2)
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    attention_norm: torch.Tensor
    mlp_norm: torch.Tensor
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    gate: Linear
    up: Linear
    down: Linear

    @classmethod
    def read(cls, tensors: dict[str, torch.Tensor], at: str) -> "Layer":
        """The layer whose tensors' names begin with `at`. Raises KeyError for a missing one."""
        return cls(
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

    def tensors(self) -> list[torch.Tensor]:
        """All that this layer computes with, in an order that is the same for every layer."""
        found = [self.attention_norm, self.mlp_norm]
        for linear in self._matrices().values():
            found += [value for value in vars(linear).values() if isinstance(value, torch.Tensor)]
        return found

    def over(self, tensors: Sequence[torch.Tensor]) -> "Layer":
        """The same layer over other `tensors`, in the order of `tensors()`."""
        attention_norm, mlp_norm, *rest = tensors
        given = iter(rest)
        matrices = {}
        for name, linear in self._matrices().items():
            matrices[name] = copy.copy(linear)
            names = [key for key, value in vars(linear).items() if isinstance(value, torch.Tensor)]
            vars(matrices[name]).update({key: next(given) for key in names})
        return replace(self, attention_norm=attention_norm, mlp_norm=mlp_norm, **matrices)

    def _matrices(self) -> dict[str, Linear]:
        return {field.name: getattr(self, field.name) for field in fields(self)[2:]}


def layer_forward(
    architecture: Architecture, layer: Layer, x: torch.Tensor, rotation: Rotation, attend: Attend
) -> torch.Tensor:
    """What `layer` makes of the residual stream x (T, C), fp32."""
    a, count, dtype = architecture, x.shape[0], layer.q.dtype
    inner = functional.rms_norm(x, (a.hidden_size,), layer.attention_norm, a.rms_norm_eps).to(dtype)
    q = _rotate(layer.q(inner).view(count, a.heads, a.head_dim), rotation).to(dtype)
    k = _rotate(layer.k(inner).view(count, a.kv_heads, a.head_dim), rotation).to(dtype)
    x = x + layer.o(attend(q, k, layer.v(inner).view(count, a.kv_heads, a.head_dim)))
    inner = functional.rms_norm(x, (a.hidden_size,), layer.mlp_norm, a.rms_norm_eps).to(dtype)
    return x + layer.down(functional.silu(layer.gate(inner)) * layer.up(inner))


def _rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Turn each pair (first half, second half) of x (T, heads, D) by its position's angle; fp32 out."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = rotation
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
