"""Quantization as one verb over one small config per scheme (schemes.py).

torchao does the rounding to int8 and float8; what leaves here is plain tensors, so a server needs neither torchao nor
pickle to read them. What a matrix `<name>` is, its dtype and the tensors beside it say (linear.py reads them so):

    fp32, bf16                              as it is
    int8  and <name>_scale                  (rows,) fp32: weight = int8 * scale
    int8  and <name>_dynamic_scale          the same, and inputs are rounded to int8 per token
    uint8 and <name>_scales_zeros           (columns / group, rows, 2) bf16: weight = (nibble - 8) * scale + zero;
                                            the low nibble is the even column; the order the packed kernel reads
    float8_e4m3fn and <name>_scale          (rows,) fp32
"""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from workloads.serving.architecture import UnsupportedModel
from workloads.serving.schemes import BFloat16, Float8, Int4, Int8, Keep, Scheme

SCALE, DYNAMIC_SCALE, SCALES_ZEROS = "_scale", "_dynamic_scale", "_scales_zeros"  # suffixes


def quantize(tensors: Iterable[tuple[str, torch.Tensor]], config: Scheme) -> dict[str, torch.Tensor]:
    """The tensors to store for names and fp32 `tensors` under `config`; the input is left alone.

    Raises UnsupportedModel for a matrix that the scheme cannot hold.
    """
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        stored |= _matrix(name, tensor, config) if tensor.ndim == 2 else {name: tensor}
    return stored


def tensor_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _matrix(name: str, weight: torch.Tensor, config: Scheme) -> dict[str, torch.Tensor]:
    inner = ".layer" in name  # neither embedding nor output
    match config:
        case Keep():
            return {name: weight}
        case BFloat16():
            return {name: weight.to(torch.bfloat16)}
        case Int4(group=group) if inner:
            return _int4_groups(name, weight, group)
        case Int8(dynamic=dynamic):
            return _int8_rows(name, weight, DYNAMIC_SCALE if dynamic and inner else SCALE)
        case Int4():
            return _int8_rows(name, weight, SCALE)
        case Float8():
            return _float8_rows(name, weight) if inner else {name: weight.to(torch.bfloat16)}


def _int8_rows(name: str, weight: torch.Tensor, suffix: str) -> dict[str, torch.Tensor]:
    rounded = _rounded(weight, _torchao().Int8WeightOnlyConfig())
    return {name: rounded.qdata.contiguous(), name + suffix: rounded.scale.reshape(-1).to(torch.float32)}


def _int4_groups(name: str, weight: torch.Tensor, group: int) -> dict[str, torch.Tensor]:
    """Sixteen steps from the least to the greatest value of each group.

    Not by torchao: its rounding for CPUs wants zero to be one of the steps, which costs a model that was 4-bit before a
    second rounding. With a zero of its own such a group's values are met again.
    """
    columns = weight.shape[1]
    if columns % group:
        raise UnsupportedModel(
            f"scheme 'int4-weight-only': {name} has {columns} columns; it must be a multiple of {group}, the "
            "columns of a group that shares a scale; publish as int8-weight-only"
        )
    values = weight.unflatten(1, (-1, group))
    least, greatest = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    # as bf16 stores them, so that values are chosen for what will be read
    scale = ((greatest - least).clamp_min(1e-8) / 15).to(torch.bfloat16).to(torch.float32)
    zero = (least + 8 * scale).to(torch.bfloat16).to(torch.float32)
    nibbles = ((values - zero) / scale + 8).round().clamp(0, 15).to(torch.uint8).flatten(1)
    pairs = torch.cat((scale, zero), dim=-1).transpose(0, 1).to(torch.bfloat16).contiguous()
    return {name: nibbles[:, 0::2] | nibbles[:, 1::2] << 4, name + SCALES_ZEROS: pairs}


def _float8_rows(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    rounded = _rounded(weight, _torchao().Float8WeightOnlyConfig())
    return {name: rounded.qdata.contiguous(), name + SCALE: rounded.scale.reshape(-1).to(torch.float32)}


def _rounded(weight: torch.Tensor, config: Any) -> Any:
    """torchao's tensor for fp32 `weight` (rows, columns)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    _torchao().quantize_(linear, config)
    return linear.weight


def _torchao() -> Any:
    """torchao's quantization: importing it takes a second, and `none` needs none."""
    # torch 2.15 warns of how torchao 0.18 registers its enums, which is nothing to whoever publishes a model
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    from torchao import quantization

    return quantization
