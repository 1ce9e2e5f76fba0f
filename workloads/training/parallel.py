"""How the workers share a model: each holds all of it (DDP), or each a part of every weight (FSDP2).

Under FSDP a layer's weights are gathered when it is their turn and dropped behind it; gradients and Adam's moments
exist in parts only. So a worker holds 16 bytes per weight divided by the workers, and what is whole at the moment. Each
still makes the model in its host's memory first, 4 bytes per weight: first weights do not depend on their number.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from workloads.training.config import TrainConfig
from workloads.training.model import LanguageModel
from workloads.training.workers import Workers


def spread(model: LanguageModel, config: TrainConfig, workers: Workers, device: torch.device) -> nn.Module:
    """The model on `device` as the workers share it; itself where there is only one. All workers must call it.

    FSDP replaces the parameters: build the optimizer after this.
    """
    if workers.world > 1 and config.parallel == "fsdp":
        return shard(model, config, workers, device)
    model.to(device)
    if workers.world == 1:
        return model
    return DistributedDataParallel(model, bucket_cap_mb=config.bucket_mb, gradient_as_bucket_view=True)


def shard(model: LanguageModel, config: TrainConfig, workers: Workers, device: torch.device) -> nn.Module:
    """Cut every parameter of `model` over the workers along its first dimension, layer by layer, in place.

    Below fp32 the layers' matrices travel as what autocast would make of them, half the bytes. Gradients are
    added in float32, and everything else stays as it is: the numbers are those of DDP.
    """
    mesh = init_device_mesh(device.type, (workers.world,))
    half = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # the residual stream and the rotary tables are float32
        param_dtype_override_fn=lambda weight: weight.dtype if weight.dim() == 1 else None,
    )
    policy = MixedPrecisionPolicy() if config.precision == "fp32" else half
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)  # what is left: embedding, head and the last norm
    return model


def compile_model(model: LanguageModel, config: TrainConfig, backend: str = "inductor") -> None:
    """Let torch.compile take the whole model, or under FSDP each layer: weights are gathered between them.

    Within DDP torch cuts the whole model's graph where a bucket of gradients ends (DDPOptimizer), so that a bucket is
    sent while the backward pass goes on.
    """
    if config.parallel == "ddp":
        model.compile(backend=backend)
        return
    for layer in model.layers:
        layer.forward = torch.compile(layer.forward, backend=backend)


def exchange(parallel: nn.Module, last: bool) -> AbstractContextManager:
    """Around the backward pass of a part of a batch: DDP exchanges the gradients of all parts with the last one's.

    FSDP exchanges each part's: keeping them would take a whole gradient's memory, which it is there to save.
    """
    if isinstance(parallel, DistributedDataParallel) and not last:
        return parallel.no_sync()
    return nullcontext()


def clip(model: nn.Module, largest: float) -> Tensor:
    """Scale the gradient down to this norm where it is above; the norm before, over all workers."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), largest)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def whole(model: LanguageModel, workers: Workers) -> LanguageModel:
    """The model with all its weights, on rank 0; elsewhere what is there. All workers must call it."""
    if not isinstance(model, FSDPModule):
        return model
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if workers.rank != 0:
        return model
    gathered = LanguageModel(model.config)
    gathered.load_state_dict(weights)
    return gathered
