"""Each way of storing a matrix: its fast path gives the plain path's numbers, and rounding stays within a step."""

import mmap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from workloads.serving.linear import (
    INT4_PACKED_TOKENS,
    PACKED_TOKENS,
    SUMMED_TOKENS,
    Float8Linear,
    Int8Linear,
    matrix,
)
from workloads.serving.quantize import quantize, tensor_bytes
from workloads.serving.schemes import SCHEMES, UnsupportedScheme, find_scheme
from workloads.serving.storage import read_tensors, write_tensors

NAME = "model.layers.0.mlp.up_proj.weight"  # an inner matrix
GROUP = 32  # columns of a 4-bit matrix come in groups of so many
BYTES = {
    "none": 4,
    "bf16": 2,
    "int8-weight-only": 1.13,
    "int8-dynamic": 1.13,
    "int4-weight-only": 0.63,
    "fp8": 1.13,
}
ON_CPU = [scheme for scheme in SCHEMES if scheme != "fp8"]
SHAPES = [(48, 64), (257, 32), (3, 40), (1, 33), (3, 96), (1, 32), (1600, 32)]  # rows, columns


def stored(scheme: str, rows: int, columns: int, name: str = NAME) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return quantize([(name, torch.randn(rows, columns))], find_scheme(scheme))


@pytest.mark.parametrize("tokens", [1, PACKED_TOKENS, PACKED_TOKENS + 1, INT4_PACKED_TOKENS + 1])
@pytest.mark.parametrize(
    ("scheme", "rows", "columns"),
    [
        (scheme, *shape)
        for scheme in ON_CPU
        for shape in SHAPES
        if scheme != "int4-weight-only" or shape[1] % GROUP == 0
    ],
)
def test_the_fast_path_of_a_scheme_equals_its_plain_one(
    scheme: str, rows: int, columns: int, tokens: int
) -> None:
    made = matrix(stored(scheme, rows, columns), NAME)
    x = torch.randn(tokens, columns)
    plain = made.plain(x.to(made.dtype))
    error = (made(x.to(made.dtype)).float() - plain).abs().max()
    assert error <= (1e-6 if scheme == "none" else 0.02) * plain.abs().max()


@pytest.mark.parametrize("offset", [1, 8])
def test_an_int8_matrix_on_any_place_in_memory_gives_the_plain_answer(offset: int) -> None:
    tensors = stored("int8-weight-only", 48, 64)
    placed = torch.empty(48 * 64 + offset, dtype=torch.int8)[offset:].view(48, 64)
    made, x = Int8Linear(placed.copy_(tensors[NAME]), tensors[NAME + "_scale"]), torch.randn(1, 64)
    torch.testing.assert_close(made(x.to(torch.bfloat16)).float(), made.plain(x), atol=0.2, rtol=0.02)


@pytest.mark.parametrize("scheme", ON_CPU)
def test_a_row_that_is_looked_up_is_the_row_that_is_multiplied(scheme: str) -> None:
    made = matrix(stored(scheme, 32, 64), NAME)
    index = torch.tensor([[3, 0], [31, 3]])
    multiplied = made.plain(torch.eye(64)).t()[index.flatten()]
    torch.testing.assert_close(made.rows(index).flatten(0, 1), multiplied)


@pytest.mark.parametrize(
    ("scheme", "steps"), [("int8-weight-only", 0.51), ("int8-dynamic", 0.51), ("int4-weight-only", 0.6)]
)
def test_stored_weights_are_within_half_a_step_of_the_originals(scheme: str, steps: float) -> None:
    torch.manual_seed(1)
    weight = torch.randn(32, 64)
    made = matrix(stored(scheme, 32, 64), NAME)
    spread = weight.unflatten(1, (-1, 32)) if scheme == "int4-weight-only" else weight[:, None]
    if scheme == "int4-weight-only":  # bf16 moves scale and zero a little
        step = (spread.amax(-1) - spread.amin(-1)) / 15
    else:
        step = spread.abs().amax(-1) / 127.5
    off = (made.rows(torch.arange(32)) - weight).view_as(spread).abs() / step[..., None]
    assert off.max() <= steps


@pytest.mark.parametrize("summed", [False, True])
def test_output_scores_pick_the_plain_winner_where_bf16_would_tie(summed: bool) -> None:
    weight = torch.full((30, 64), 100, dtype=torch.int8)
    weight[17, 0] = 101  # ahead by far less than bf16 can tell at this size
    made = Int8Linear(weight, torch.ones(30))
    made.summed = summed
    x = torch.ones(2, 64)
    assert made(x.to(torch.bfloat16))[0].argmax() != 17, "bf16 alone should not see it"
    assert made.scores(x).argmax(-1).tolist() == [17, 17] and made.scores(x[0]).argmax() == 17


def test_scores_that_are_summed_as_integers_are_near_the_plain_ones_and_alone_the_same() -> None:
    made = matrix(stored("int8-weight-only", 200, 64), NAME)
    assert isinstance(made, Int8Linear)
    made.summed = True
    x = torch.randn(SUMMED_TOKENS + 2, 64)
    x[:, 5] *= 30  # as inputs of models are: a column that takes most of the steps
    found, plain = made.scores(x), made.plain(x)
    assert (found - plain).abs().max() <= 1e-4 * plain.abs().max()
    assert torch.equal(found, torch.stack([made.scores(one) for one in x]))
    assert not made.scores(torch.zeros(64)).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_round_trips_through_its_file_byte_for_byte_in_its_size(scheme: str, tmp_path: Path) -> None:
    tensors = stored(scheme, 48, 64) | {"norm.weight": torch.randn(33)}
    write_tensors(tmp_path / "f", tensors)
    with open(tmp_path / "f", "rb") as file:
        read = read_tensors(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    other = load_file(tmp_path / "f")  # the ordinary reader understands our layout
    assert read.keys() == tensors.keys() == other.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype == other[name].dtype and read[name].shape == tensor.shape
        assert torch.equal(read[name].view(torch.uint8), tensor.view(torch.uint8))
    assert read[NAME].data_ptr() % 64 == 0, "kernels compute on the mapped file"
    del tensors["norm.weight"]
    assert tensor_bytes(tensors) <= BYTES[scheme] * 48 * 64


@pytest.mark.parametrize("scheme", ["int8-dynamic", "int4-weight-only", "fp8"])
def test_embedding_and_output_keep_at_least_eight_bits_and_exact_inputs(scheme: str) -> None:
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        kinds = {key: tensor.dtype for key, tensor in stored(scheme, 48, 64, name).items()}
        assert kinds in (
            {name: torch.int8, name + "_scale": torch.float32},
            {name: torch.bfloat16},
        )


def test_float8_is_refused_without_a_gpu_by_rule_and_remedy_and_its_plain_path_is_near_the_originals() -> (
    None
):
    tensors = stored("fp8", 32, 64)
    with pytest.raises(
        UnsupportedScheme, match=r"'fp8'.*'cpu' is no CUDA device.*8\.9 or newer.*int8-weight-only"
    ):
        matrix(tensors, NAME)
    torch.manual_seed(1)
    weight = torch.randn(32, 64)
    off = Float8Linear(tensors[NAME], tensors[NAME + "_scale"]).rows(torch.arange(32)) - weight
    assert bool((off.abs() <= weight.abs() / 15 + 0.01).all())  # three bits of mantissa
