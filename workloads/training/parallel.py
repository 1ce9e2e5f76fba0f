"""How the workers share a model."""

import torch
from torch.nn.parallel import DistributedDataParallel

from workloads.training.config import TrainConfig
from workloads.training.model import LanguageModel
from workloads.training.workers import Workers


def spread(model: LanguageModel, config: TrainConfig, workers: Workers) -> torch.nn.Module:
    """The model whose gradients the workers share; the model itself where there is only one."""
    if workers.world == 1:
        return model
    return DistributedDataParallel(model, bucket_cap_mb=config.bucket_mb, gradient_as_bucket_view=True)
