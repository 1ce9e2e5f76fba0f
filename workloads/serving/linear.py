"""Matrices of the decoder: plain fp32, and int8 with one scale per row.

Shapes: weight (rows, columns), input (tokens, columns), output (tokens, rows). Each int8 matrix has a plain
path, which defines the answer, and a fast one, which a test compares with it.
"""

import torch
from torch.nn import functional

# The packed kernel reads int8 directly and wins while few tokens share one pass over the weights; beyond this
# many rows widening the matrix once is cheaper (measured: 1 token 16 against 80 microseconds, 64 tokens 500
# against 150, for a 576x576 matrix on one core).
PACKED_TOKENS = 8
# What the packed kernel takes without checking: on other boundaries it ends the process, on other widths its
# answers are wrong (both seen).
PACKED_BOUNDARY = 16  # bytes
PACKED_COLUMNS = 16  # columns are a multiple of this
CANDIDATES = 32  # output rows recomputed in fp32: more than can tie within bf16's rounding of the best


class PlainLinear:
    """An fp32 matrix."""

    dtype = torch.float32  # of what `__call__` takes

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Rows `index` (n,) as fp32 (n, columns): the embedding lookup."""
        return self.weight[index]

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """fp32 logits (n, rows) for fp32 positions (n, columns)."""
        return functional.linear(x, self.weight)


class Int8Linear:
    """An int8 matrix with an fp32 scale per row; bf16 in and out on the fast path."""

    dtype = torch.bfloat16

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        # storage.py lays matrices out on the boundary; from anywhere else they are copied onto one
        self.weight = weight if _aligned(weight) else weight.clone()
        self.scale = scale
        self._scale16 = scale.to(torch.bfloat16)  # the kernel wants scales in the input's dtype
        fits = weight.shape[1] % PACKED_COLUMNS == 0
        # private in torch: absent is survivable
        self._packed = getattr(torch, "_weight_int8pack_mm", None) if fits else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._packed is not None and x.shape[0] <= PACKED_TOKENS and _aligned(x):
            return self._packed(x, self.weight, self._scale16)
        return (
            functional.linear(x, self.weight.to(torch.bfloat16)) * self._scale16
        )  # every int8 value is exact in bf16

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The same product in fp32, weights widened first: what the fast path is measured against."""
        return functional.linear(x.to(torch.float32), self.rows(torch.arange(self.weight.shape[0])))

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Rows `index` (n,) as fp32 (n, columns)."""
        return self.weight[index].to(torch.float32) * self.scale[index, None]

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """fp32 logits (n, rows) for fp32 positions (n, columns).

        bf16 rounds large logits so coarsely that the best few tie; those are computed again in fp32.
        """
        logits = self(x.to(torch.bfloat16)).to(torch.float32)
        best = logits.topk(min(CANDIDATES, logits.shape[1])).indices  # (n, few)
        exact = self.rows(best.flatten()).view(*best.shape, -1) @ x[:, :, None]
        return logits.scatter_(1, best, exact[:, :, 0])


Linear = PlainLinear | Int8Linear


def _aligned(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and tensor.data_ptr() % PACKED_BOUNDARY == 0
