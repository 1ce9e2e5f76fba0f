"""AdamW with weight decay where it belongs, and the learning rate over the steps."""

import math

import torch
from torch import nn

from workloads.training.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all weights: one kernel for all of them, or, with `plain`, one weight after the other."""
    # 0.99 rather than 0.999: the second moment must settle within a run of hundreds of steps.
    kernels = {"fused": False, "foreach": False} if config.plain else {"fused": True}
    return torch.optim.AdamW(decay_groups(model, config.weight_decay), betas=(0.9, 0.99), **kernels)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Matrices decay; the norms' scales do not, as nothing is gained by drawing them to zero."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    scales = [weight for weight in model.parameters() if weight.dim() == 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": scales, "weight_decay": 0.0}]


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear from 0 to the peak over the warm-up, then a cosine to the final share; steps count from 1."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)  # 0 .. 1
    share = config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * share
