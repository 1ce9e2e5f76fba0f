"""Quantization as one verb over one small config per scheme.

torchao does the rounding; what leaves here is plain tensors: an int8 matrix under the weight's own name and
one fp32 scale per row under `<name>_scale`, so a server needs neither torchao nor pickle to read them.
The embedding matrix is quantized like the others. In a small model it is the largest one, and where input and
output share it, it is stored once and a row is widened when its token is looked up.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SCALE_SUFFIX = "_scale"


@dataclass(frozen=True, slots=True)
class KeepConfig:
    """Weights stay as they are, fp32."""


@dataclass(frozen=True, slots=True)
class Int8Config:
    """Matrices become int8 with one symmetric scale per row; vectors (the norms) stay fp32."""


SCHEMES: dict[str, KeepConfig | Int8Config] = {"none": KeepConfig(), "int8-weight-only": Int8Config()}


class UnknownScheme(Exception):
    """No such scheme; the message lists the known ones."""


def find_scheme(name: str) -> KeepConfig | Int8Config:
    """The config of the scheme called `name`. Raises UnknownScheme."""
    if name not in SCHEMES:
        raise UnknownScheme(f"--scheme {name!r}: no such scheme; known are {', '.join(SCHEMES)}")
    return SCHEMES[name]


def quantize(tensors: dict[str, torch.Tensor], config: KeepConfig | Int8Config) -> dict[str, torch.Tensor]:
    """The tensors to store for fp32 `tensors` under `config`; the input is left alone."""
    if isinstance(config, KeepConfig):
        return dict(tensors)
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            stored[name] = tensor
            continue
        stored[name], stored[name + SCALE_SUFFIX] = _int8_rows(tensor)
    return stored


def tensor_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _int8_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) fp32 -> the same shape int8 and (rows,) fp32, so that weight ~ int8 * scale."""
    from torchao.quantization import (
        Int8WeightOnlyConfig,
        quantize_,
    )  # a second to import, needed for int8 only

    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    quantize_(linear, Int8WeightOnlyConfig())
    quantized: Any = linear.weight  # now torchao's int8 tensor
    return quantized.qdata.contiguous(), quantized.scale.reshape(-1).to(torch.float32).contiguous()
