"""Smoothing of a decoder whose inputs are rounded too: what is large in an input is handed over to the weights.

A few columns of an input are far larger than the others, and the int8 steps of a whole token with them. Dividing such
a column by a factor and multiplying the same column of the matrix by it changes no product; and whatever makes an
input here (`INPUTS`) can be divided once and for all. The factor of a column is sqrt(largest input / largest weight),
equation 4 of SmoothQuant (Xiao et al., 2023, arXiv 2211.10438) with alpha 1/2. It is rounded, so that it does not
follow the last digits of a sum, which depend on the number of threads.

What it brings is in docs/decisions/0015-quantized-weights.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer

from workloads.held_out import calibration_excerpts
from workloads.serving.architecture import Architecture
from workloads.serving.linear import PlainLinear
from workloads.serving.model import Decoder
from workloads.serving.quality import WINDOW

CALIBRATION_BYTES = 6_000  # four windows
STEPS = 8  # factors to an octave; one costs half of what is gained (SmolLM2: 0.8 % lost, with 8 0.4 %)

Factors = dict[str, torch.Tensor]  # by the tensor's name


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a layer's matrices: who makes its columns, one row or value each, and who takes them."""

    maker: str
    takers: tuple[str, ...]


INPUTS = {
    "q": Input(
        "input_layernorm.weight",
        ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    ),
    "o": Input("self_attn.v_proj.weight", ("self_attn.o_proj.weight",)),
    "gate": Input("post_attention_layernorm.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight")),
    "down": Input("mlp.up_proj.weight", ("mlp.down_proj.weight",)),
}
"""By the field of `Layer` that is watched."""


def smoothed(
    tensors: dict[str, torch.Tensor], reference: Decoder, tokenizer: Tokenizer
) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of a decoder that computes in fp32 what fp32 `tensors` compute, its inputs evened out.

    They come one at a time, so that a large model is not held twice. `reference` computes the same model on the
    calibration text; it is changed by that and of no further use.
    """
    columns, rows = factors(reference.architecture, tensors, peaks(reference, tokenizer))
    for name, tensor in tensors.items():
        if name in columns:
            tensor = tensor * columns[name]
        if name in rows:
            tensor = tensor / rows[name].view(-1, *[1] * (tensor.ndim - 1))
        yield name, tensor


def peaks(decoder: Decoder, tokenizer: Tokenizer) -> list[Factors]:
    """The largest value (columns,) of each input of `INPUTS` on the calibration text, a dict per layer."""
    watched = [
        {field: _Watched(getattr(layer, field).weight) for field in INPUTS} for layer in decoder.layers
    ]
    decoder.layers = [
        replace(layer, **matrices) for layer, matrices in zip(decoder.layers, watched, strict=True)
    ]
    size = min(WINDOW, decoder.architecture.context_length)
    for text in calibration_excerpts(CALIBRATION_BYTES):
        decoder.all_logits(torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids[:size]))
    return [{field: matrix.peaks.cpu() for field, matrix in matrices.items()} for matrices in watched]


def factors(
    architecture: Architecture, tensors: dict[str, torch.Tensor], found: list[Factors]
) -> tuple[Factors, Factors]:
    """What the columns of each taker are multiplied by, and the rows or values of each maker divided by."""
    columns: Factors = {}
    rows: Factors = {}
    for index, inputs in enumerate(found):
        at = f"model.layers.{index}."
        for field, largest in inputs.items():
            maker, takers = at + INPUTS[field].maker, [at + name for name in INPUTS[field].takers]
            weight = torch.stack([tensors[name].abs().amax(0) for name in takers]).amax(0)
            # heads that share keys and values share what makes their inputs: (K, H / K, D)
            shared = architecture.heads // architecture.kv_heads if field == "o" else 1
            groups = (-1, shared, architecture.head_dim if shared > 1 else 1)
            factor = _factor(largest.view(groups).amax(1), weight.view(groups).amax(1))
            rows[maker] = factor.flatten()
            columns |= dict.fromkeys(takers, factor[:, None].expand(-1, shared, -1).flatten())
    return columns, rows


def _factor(largest: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """sqrt(largest / weight) to the nearest of STEPS; 1 where either is nothing, and there is nothing to even out."""
    octaves = (largest.log2() - weight.log2()) / 2
    return torch.where((largest > 0) & (weight > 0), (octaves * STEPS).round() / STEPS, 0.0).exp2()


class _Watched(PlainLinear):
    """A matrix that remembers the largest value of each column (columns,) of what it was given."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight)
        self.peaks = torch.zeros(weight.shape[1], device=weight.device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.peaks = torch.maximum(self.peaks, x.abs().amax(0).to(torch.float32))
        return super().__call__(x)
