"""Tensors in a safetensors file, laid out so that a server can compute on the mapped file itself.

The file is ordinary safetensors (8 bytes length, JSON header, data without gaps); only the order is ours. The
int8 kernels need matrices on a 16-byte boundary: one byte off ends the process. So the header is padded, and
matrices, the widest numbers first, come before vectors, whose sizes are odd.
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any

import torch

ALIGNMENT = 64  # of the data's beginning; a cache line, and more than any kernel asks for
_KINDS = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I8": torch.int8,
    "U8": torch.uint8,
}  # in file order


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write contiguous `tensors` of the kinds above; same tensors, same bytes. Raises ValueError for others."""
    names = {dtype: kind for kind, dtype in _KINDS.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in names or not tensor.is_contiguous():
            raise ValueError(
                f"tensor {name!r} is {tensor.dtype}; only contiguous {', '.join(_KINDS)} are stored"
            )
    kinds = list(names)
    order = sorted(tensors, key=lambda name: (tensors[name].ndim < 2, kinds.index(tensors[name].dtype), name))
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        tensor, start = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            out.write(tensors[name].view(torch.uint8).numpy().tobytes())  # numpy knows no bf16


def read_tensors(weights: mmap.mmap, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The tensors of a mapped file: views into it, where nothing is copied and servers share the pages, or copies
    on another device, one after the other and by way of no other memory than the file's pages."""
    start = 8 + int.from_bytes(weights[:8], "little")
    header: dict[str, Any] = json.loads(weights[8:start])
    header.pop("__metadata__", None)
    return {
        name: torch.frombuffer(
            weights,
            dtype=_KINDS[entry["dtype"]],
            count=math.prod(entry["shape"]),
            offset=start + entry["data_offsets"][0],
        )
        .reshape(entry["shape"])
        .to(device)
        for name, entry in header.items()
    }
