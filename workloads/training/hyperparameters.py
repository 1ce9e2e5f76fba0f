"""The settings that shape what a run learns and that may change on its way: kept with it, compared when it goes on.

What makes a run another run (model, data, seed, first weights) may not change: see Run.identity.
"""

from collections.abc import Mapping
from typing import Any

import torch

from workloads.training.config import TrainConfig

NAMES = (
    *("learning_rate", "warmup", "final_fraction", "steps"),  # the schedule runs over all steps
    *("weight_decay", "clip", "batch", "precision"),
)


def hyperparameters(config: TrainConfig) -> dict[str, Any]:
    """Their values, as JSON has them."""
    return {name: getattr(config, name) for name in NAMES}


def changes(facts: Mapping[str, Any], config: TrainConfig) -> dict[str, list[Any]]:
    """Name -> before and now, of all that differ from the checkpoint's `facts`; one of an older release knows none."""
    now = hyperparameters(config)
    return {name: [facts[name], now[name]] for name in NAMES if name in facts and facts[name] != now[name]}


def set_weight_decay(optimizer: torch.optim.Optimizer, weight_decay: float) -> None:
    """As this life's settings have it: a checkpoint brings that of the life before. Groups without decay stay so."""
    optimizer.param_groups[0]["weight_decay"] = weight_decay  # matrices, see optimizer.decay_groups
