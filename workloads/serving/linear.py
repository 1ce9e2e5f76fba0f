"""Matrices of a model, one class for each way of storing them.

Shapes: weight (rows, columns), input (tokens, columns), output (tokens, rows). Each has a plain path, fp32 with the
weights widened first, which defines the answer, and a fast one, which a test compares with it. The numbers behind
the choices are in docs/decisions/0015-quantized-weights.md.
"""

import torch
from torch.nn import functional

from workloads.serving.quantize import DYNAMIC_SCALE, SCALE, SCALES_ZEROS
from workloads.serving.schemes import SCHEMES, check_device

# The packed int8 kernel reads int8 directly and wins while few tokens share one pass over the weights; beyond this
# many, widening the matrix once is cheaper (one core, 1536x576: 16 tokens 180 against 195 microseconds, 32 tokens
# 350 against 254).
PACKED_TOKENS = 16
# The packed int4 kernel wins longer, since nibbles are dearer to widen (128 tokens 1300 against about 1400).
INT4_PACKED_TOKENS = 128
# What the packed int8 kernel takes without checking: on other boundaries it ends the process, on other widths its
# answers are wrong (both seen).
PACKED_BOUNDARY = 16  # bytes
PACKED_COLUMNS = 16  # columns are a multiple of this
INT4_ROWS = 16  # the packed int4 kernel's: rows are a multiple of this
# widened at a time: the bf16 copy stays in a core's cache, which counts for an output matrix
WIDENED_ROWS = 1536
INT_MM_ROWS = 16  # on CUDA torch._int_mm takes more rows than this only: so many of zeros are added
INT_MM_SIDE = 8  # and there columns and rows of the matrix are a multiple of this
# CUDA's packed int4 kernel: rows a multiple of the one, columns of 16 times the other
INT4_SIDE, INT4_TILES = 8, 8
INT4_CAPABILITY = (8, 0)  # of the device for that kernel
SUMMED_TOKENS = 64  # whose logits are summed at once: bounds memory, three numbers of 32 bits for each
FINER = 254  # what a step of int8 is cut into, so that its half fits int8 again
CANDIDATES = 32  # output rows recomputed in fp32: more than can tie within bf16's rounding of the best


class PlainLinear:
    """A matrix as it is, fp32 or bf16; also what the others have in common."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight
        self.dtype = weight.dtype  # of what `__call__` takes and gives
        self.shape: tuple[int, ...] = tuple(weight.shape)
        self.device = weight.device

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Rows `index` (any shape) as fp32 (..., columns): the embedding lookup."""
        return self.weight[index].to(torch.float32)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The same product in fp32, weights widened first: what the fast path is measured against."""
        return functional.linear(
            x.to(torch.float32), self.rows(torch.arange(self.shape[0], device=self.device))
        )

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """fp32 logits (..., rows) for fp32 positions (..., columns)."""
        return self._scores(x[None])[0] if x.ndim == 1 else self._scores(x)

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        """bf16 rounds large logits so coarsely that the best few tie; those are computed again in fp32."""
        if self.dtype == torch.float32:
            return self(x)
        logits = self(x.to(self.dtype)).to(torch.float32)
        best = logits.topk(min(CANDIDATES, logits.shape[-1])).indices
        return logits.scatter(-1, best, (self.rows(best) @ x[..., None]).squeeze(-1))


class Int8Linear(PlainLinear):
    """An int8 matrix with an fp32 scale per row; bf16 in and out on the fast path.

    On a GPU it is widened: torch's packed kernel gives each output to one thread there and reads the matrix without
    order (ATen/native/cuda/int8mm.cu). Compiled, the widening is part of the product.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        # storage.py lays matrices out on the boundary; from anywhere else they are copied onto one
        on_cpu = weight.device.type == "cpu"
        super().__init__(weight if not on_cpu or _aligned(weight) else weight.clone())
        self.dtype = torch.bfloat16
        self.scale = scale
        self._scale16 = scale.to(torch.bfloat16)  # the kernel wants scales in the input's dtype
        fits = on_cpu and weight.shape[1] % PACKED_COLUMNS == 0
        # private in torch: absent is survivable
        self._packed = getattr(torch, "_weight_int8pack_mm", None) if fits else None
        self.summed = on_cpu and _has_int8_products()  # without them torch may sum number by number

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._packed is not None and x.shape[0] <= PACKED_TOKENS and _aligned(x):
            return self._packed(x, self.weight, self._scale16)
        if self.device.type != "cpu":
            return functional.linear(x, self.weight.to(x.dtype)) * self._scale16
        blocks = self.weight.split(WIDENED_ROWS)  # every int8 value is exact in bf16
        return torch.cat([functional.linear(x, block.to(x.dtype)) for block in blocks], -1) * self._scale16

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs as two int8 numbers each, 16 bits together: sums of integers are exact, so nothing ties that should
        not, and who else is in the batch changes nothing."""
        if not self.summed:
            return super()._scores(x)
        return torch.cat([self._sums(tokens) for tokens in x.split(SUMMED_TOKENS)])

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        values, steps = _int8_tokens(x)
        rest = ((x - values * steps) * (FINER / steps)).round_().to(torch.int8)
        coarse, fine = torch.ops.aten._int_mm(torch.cat((values, rest)), self.weight.t()).chunk(2)
        return (coarse + fine / FINER) * (steps * self.scale)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        return self.weight[index].to(torch.float32) * self.scale[index][..., None]


class Int8DynamicLinear(Int8Linear):
    """An int8 matrix whose inputs are rounded to int8 as well, with one scale per token."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.device.type != "cpu" and any(side % INT_MM_SIDE for side in self.shape):
            return self.plain(x).to(x.dtype)
        values, steps = _int8_tokens(x)
        count = values.shape[0]
        if self.device.type != "cpu":
            values = functional.pad(values, (0, 0, 0, INT_MM_ROWS))
        sums = torch.ops.aten._int_mm(values, self.weight.t())[:count]
        return (sums * (steps * self.scale)).to(x.dtype)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        values, steps = _int8_tokens(x)
        # fp64: sums of products pass the 24 bits up to which fp32 counts exactly
        return (functional.linear(values.double(), self.weight.double()) * steps * self.scale).to(
            torch.float32
        )


class Int4Linear(PlainLinear):
    """A 4-bit matrix, two columns in a byte, with a bf16 scale and zero per group of columns; bf16 in and out.

    The packed kernels want orders of their own, that of a CPU depends on the processor, so they are made here, at
    load: a second copy of the nibbles, in this process's own memory or the device's.
    """

    def __init__(self, weight: torch.Tensor, scales_zeros: torch.Tensor) -> None:
        super().__init__(weight)
        self.dtype = torch.bfloat16
        self.shape = (weight.shape[0], 2 * weight.shape[1])
        self.scales_zeros = scales_zeros  # (groups, rows, 2)
        self.group = self.shape[1] // scales_zeros.shape[0]
        self._packed = self._pack()

    def _pack(self) -> torch.Tensor | None:
        """In the order of the device's kernel; None where there is none for this shape."""
        rows, columns = self.shape
        if self.device.type == "cpu":
            pack = getattr(torch.ops.aten, "_convert_weight_to_int4pack_for_cpu", None)
            if pack is None or rows % INT4_ROWS:
                return None
            return pack(_nibbles(self.weight).to(torch.int32), 1)
        if rows % INT4_SIDE or columns % (16 * INT4_TILES) or _capability(self.device) < INT4_CAPABILITY:
            return None
        swapped = self.weight << 4 | self.weight >> 4  # there the even column is the high nibble
        return torch.ops.aten._convert_weight_to_int4pack(swapped, INT4_TILES)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._packed is not None and x.shape[0] <= INT4_PACKED_TOKENS:
            on_cpu = self.device.type == "cpu"
            aten = torch.ops.aten
            kernel = aten._weight_int4pack_mm_for_cpu if on_cpu else aten._weight_int4pack_mm
            return kernel(x.contiguous(), self._packed, self.group, self.scales_zeros)
        return functional.linear(x, self._widened(self.weight, self.scales_zeros))

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        pairs = self.scales_zeros[:, index].to(torch.float32)
        return self._widened(self.weight[index], pairs)

    def _widened(self, weight: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """(rows, columns) in the dtype of `pairs` (groups, rows, 2)."""
        values = _nibbles(weight).to(pairs.dtype).sub_(8).unflatten(-1, (-1, self.group))
        scale, zero = pairs.movedim(0, -2)[..., None].unbind(-2)
        return (values * scale + zero).flatten(-2)


class Float8Linear(PlainLinear):
    """A float8 matrix with an fp32 scale per row. The fast path needs a GPU and has not run on one yet."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__(weight)
        self.dtype = torch.bfloat16
        self.scale = scale

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if not x.is_cuda:
            return self.plain(x).to(x.dtype)
        # 448 is e4m3's largest value
        steps = x.abs().amax(-1, keepdim=True).to(torch.float32).clamp_min(1e-12) / 448
        values = (x / steps).to(torch.float8_e4m3fn)
        return torch.ops.aten._scaled_mm(
            values, self.weight.t(), scale_a=steps, scale_b=self.scale[None], out_dtype=torch.bfloat16
        )

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        # indexing a float8 tensor is not implemented everywhere; its bytes can be
        values = self.weight.view(torch.uint8)[index].view(torch.float8_e4m3fn)
        return values.to(torch.float32) * self.scale[index][..., None]


Linear = PlainLinear  # what a model computes with


def matrix(tensors: dict[str, torch.Tensor], name: str) -> Linear:
    """The matrix called `name`: what it is, its dtype and the tensors beside it say.

    Raises KeyError for a missing tensor and UnsupportedScheme where this machine does not compute it.
    """
    weight = tensors[name]
    if weight.dtype == torch.float8_e4m3fn:
        check_device(SCHEMES["fp8"], weight.device)
        return Float8Linear(weight, tensors[name + SCALE])
    if weight.dtype == torch.uint8:
        return Int4Linear(weight, tensors[name + SCALES_ZEROS])
    if weight.dtype != torch.int8:
        return PlainLinear(weight)
    if name + DYNAMIC_SCALE in tensors:
        return Int8DynamicLinear(weight, tensors[name + DYNAMIC_SCALE])
    return Int8Linear(weight, tensors[name + SCALE])


def _int8_tokens(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`x` (tokens, columns) as int8 and fp32 (tokens, 1), so that x ~ int8 * step; zeros stay zeros."""
    wide = x.to(torch.float32)
    steps = wide.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return (wide / steps).round_().to(torch.int8), steps


def _has_int8_products() -> bool:
    return getattr(torch.cpu, "_is_vnni_supported", bool)()  # private in torch too: absent is no


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def _nibbles(weight: torch.Tensor) -> torch.Tensor:
    """(..., bytes) -> (..., columns) uint8 from 0 to 15."""
    return torch.stack((weight & 15, weight >> 4), dim=-1).flatten(-2)


def _aligned(tensor: torch.Tensor) -> bool:
    # while a compiler looks on there is no memory yet, and its buffers lie on 64 bytes
    return torch.compiler.is_compiling() or (
        tensor.is_contiguous() and tensor.data_ptr() % PACKED_BOUNDARY == 0
    )
