"""What torch 2.0.1 lacks of what the training program imports: one function, and names that are never reached."""

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


ABSENT_OF_FSDP = ("FSDPModule", "MixedPrecisionPolicy", "fully_shard")


class Absent:
    """Stands for whatever is not there; nothing is an instance of it."""


class AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent


def complete() -> None:
    """Let the imports of the training program succeed; call it before them. Does nothing to a newer torch."""
    if hasattr(functional, "rms_norm"):
        return
    functional.rms_norm = rms_norm
    for name in ABSENT:
        sys.modules[name] = AbsentModule(name)
    for name in ABSENT_OF_FSDP:
        setattr(torch.distributed.fsdp, name, Absent)


def rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    """As torch has it from 2.4 on."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
