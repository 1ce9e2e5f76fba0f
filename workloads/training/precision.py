"""Fp8: the layers' matrix products in 8-bit floats by torchao, everything else as in bf16.

Not run on a GPU yet: its speed and its losses there are not known. What was run is torchao's emulation, on a CPU.
"""

import torch
from torch import nn

from workloads.training.config import TrainConfig
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel

HOPPER = (9, 0)  # compute capability of H100, H200 and GH200, https://developer.nvidia.com/cuda-gpus
TILE = 16  # every dimension of an fp8 product must be a multiple of it (torch._scaled_mm)


def check_fp8(config: TrainConfig, device: torch.device) -> None:
    """Raises ConfigError when the settings ask for fp8 and the device or a size cannot do it."""
    if config.precision != "fp8":
        return
    problems = []
    if device.type != "cuda" or torch.cuda.get_device_capability(device) != HOPPER:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
        problems.append(
            f"precision='fp8': must be on an NVIDIA GPU of the Hopper generation, and this worker runs on {name}; "
            "set --precision bf16, or start it on an H100 or H200"
        )
    model = config.model
    sizes = {"width": model.width, "hidden": model.hidden, "context": model.context}
    sizes["width / heads * key_value_heads"] = model.width // model.heads * model.key_value_heads
    problems += [
        f"precision='fp8', {name}={size}: must be a multiple of {TILE}; change it, or set --precision bf16"
        for name, size in sizes.items()
        if size % TILE
    ]
    if problems:
        raise ConfigError(*problems)


def to_fp8(model: LanguageModel, emulate: bool = False) -> None:
    """Let the linears of all layers multiply in fp8, in place; names and weights stay. The head stays as it is.

    `emulate` rounds to fp8 and multiplies in the usual way, on any device: slow, for tests.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training  # slow to import, seldom wanted

    convert_to_float8_training(
        model,
        module_filter_fn=lambda module, name: isinstance(module, nn.Linear) and name.startswith("layers."),
        config=Float8LinearConfig(emulate=emulate),
    )
