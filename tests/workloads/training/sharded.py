"""What two workers see of a model that is cut over them, as JSON from rank 0; torchrun starts it.

Beside each sharded model stands the same one as DDP has it, on the same rows.
"""

import json

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from workloads.training.config import TrainConfig
from workloads.training.model import LanguageModel, ModelConfig
from workloads.training.parallel import clip, compile_model, spread
from workloads.training.step import gradients
from workloads.training.workers import Workers, leave

SHAPE = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, hidden=48, context=16)
CPU = torch.device("cpu")


def learned(workers: Workers, compiled: bool = False, **settings) -> dict:
    """The loss, the norm and every gradient of one batch in two parts, and what the model looked like."""
    config = TrainConfig(model=SHAPE, accumulate=2, **settings)
    torch.manual_seed(1)
    model = LanguageModel(SHAPE)
    if compiled:
        compile_model(model, config, backend="aot_eager")
    parallel = spread(model, config, workers, CPU)
    bucket = getattr(parallel, "bucket_bytes_cap", 0)  # DDP's
    seen = {}

    def look(module: torch.nn.Module, given: tuple) -> None:
        weight = module.get_parameter("weight")
        seen[type(module).__name__] = f"{str(weight.dtype).removeprefix('torch.')} {list(weight.shape)}"

    if not compiled:
        model.get_submodule("layers.0.mlp.down_proj").register_forward_pre_hook(look)
        model.get_submodule("layers.0.input_layernorm").register_forward_pre_hook(look)
    rows = torch.randint(0, 257, (4, 17), generator=torch.Generator().manual_seed(workers.rank))
    loss = gradients(parallel, rows, config)
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    parts = sum((each.to_local() if isinstance(each, DTensor) else each).numel() for each in grads)
    flat = torch.cat(
        [(each.full_tensor() if isinstance(each, DTensor) else each).flatten() for each in grads]
    )
    norm = clip(model, 0.5)
    clipped = clip(model, 1e9)
    told = {"loss": loss, "grad": flat, "norm": norm, "clipped": clipped, "parts": parts, "seen": seen}
    return {**told, "bucket": bucket}


def main() -> None:
    workers = Workers.from_environment()
    workers.join(CPU, patience=300)
    told = {}
    for precision in ("fp32", "bf16"):
        ddp = learned(workers, precision=precision, parallel="ddp", bucket_mb=3)
        fsdp = learned(workers, precision=precision, parallel="fsdp")
        told[precision] = {
            "loss": (ddp["loss"] - fsdp["loss"]).abs().item(),
            "grad": ((ddp["grad"] - fsdp["grad"]).abs().max() / ddp["grad"].abs().max()).item(),
            "norms": [ddp["norm"].item(), fsdp["norm"].item(), ddp["clipped"].item(), fsdp["clipped"].item()],
            "parts": [ddp["parts"], fsdp["parts"]],
            "seen": fsdp["seen"],
            "bucket": ddp["bucket"],
        }
    eager, compiled = (learned(workers, compiled=each, parallel="fsdp") for each in (False, True))
    told["compiled"] = {
        "loss": (eager["loss"] - compiled["loss"]).abs().item(),
        "grad": ((eager["grad"] - compiled["grad"]).abs().max() / eager["grad"].abs().max()).item(),
    }
    if dist.get_rank() == 0:
        print(json.dumps(told), flush=True)
    leave()


if __name__ == "__main__":
    main()
