"""What torch 2.0.1 lacks of what the training program imports: one function, and names that this variant never reaches."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch.distributed.fsdp
from torch import Tensor
from torch.nn import functional

ABSENT = (  # all for cutting a model over workers
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.device_mesh",
    "torch.distributed.tensor",
)


class Absent:
    """Stands for whatever is not there; nothing is an instance of it."""


def complete() -> None:
    """Let the imports of the training program succeed; call it before them. Does nothing to a newer torch."""
    if hasattr(functional, "rms_norm"):
        return
    functional.rms_norm = rms_norm
    for name in ABSENT:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name])["__getattr__"] = _absent
    vars(torch.distributed.fsdp)["__getattr__"] = _absent


def rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    """As torch has it from 2.4 on."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _absent(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Absent
