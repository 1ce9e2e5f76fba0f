"""One optimizer step of a run: batch, loss, gradients over all workers, clipping, update."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from workloads.training.config import TrainConfig
from workloads.training.data import Corpus, windows
from workloads.training.hyperparameters import hyperparameters
from workloads.training.model import LanguageModel
from workloads.training.optimizer import learning_rate
from workloads.training.parallel import clip, exchange
from workloads.training.sampler import Sampler
from workloads.training.workers import Workers


@dataclass
class Run:
    """What a step needs, and how many were taken."""

    config: TrainConfig
    workers: Workers
    device: torch.device
    corpus: Corpus
    sampler: Sampler
    model: LanguageModel
    optimizer: torch.optim.Optimizer
    parallel: torch.nn.Module  # the model as the workers share it
    step: int = 0
    init_digest: str | None = None  # of the folder that the first weights came from
    # of hyperparameters: step, name, before, now
    changes: list[list[Any]] = field(default_factory=list)
    data_wait: float = 0.0  # seconds that this worker stood still for its rows, so far

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with for this run to go on from it."""
        shape = asdict(self.config.model)
        begun = {"data_digest": self.corpus.digest, "seed": self.config.seed, "init_digest": self.init_digest}
        return {**begun, "model": shape}

    def settings(self) -> dict[str, Any]:
        """What it learns by, and how that changed on the way."""
        return {**hyperparameters(self.config), "changes": self.changes}


def take_step(run: Run) -> tuple[Tensor, Tensor]:
    """One optimizer step; this worker's loss, and the gradient's norm over all workers before clipping."""
    config = run.config
    asked = time.perf_counter()
    starts = run.workers.share(run.sampler.take(config.batch))
    rows = windows(run.corpus.training, starts, config.model.context)  # (about B / world, T + 1)
    run.data_wait += time.perf_counter() - asked
    share = len(rows) * run.workers.world / config.batch  # 1 where all workers have equally many rows
    loss = gradients(run.parallel, on_device(rows, run.device), config, share)
    norm = clip(run.model, config.clip)
    rate = learning_rate(config, run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.optimizer.zero_grad()
    return loss, norm


def on_device(rows: Tensor, device: torch.device) -> Tensor:
    """The rows on `device`. A GPU fetches them by itself, behind the step that it is still at: nothing waits for it."""
    if device.type == "cuda":
        rows = rows.pin_memory()  # from other memory the copy would be made at once
    return rows.to(device, non_blocking=True)


def gradients(parallel: torch.nn.Module, rows: Tensor, config: TrainConfig, share: float = 1.0) -> Tensor:
    """Add the gradients of this worker's rows, averaged over the workers; return its own loss in nats per token.

    `share` is the number of this worker's rows over the mean number of rows of a worker. It weights the loss, so that
    the average over the workers is the mean over all rows. The rows are taken in `accumulate` parts, see `exchange`.
    """
    total = torch.zeros((), device=rows.device)
    parts = rows.tensor_split(
        config.accumulate
    )  # as many on every worker: under FSDP each part is an exchange
    for number, part in enumerate(parts, 1):
        with exchange(parallel, last=number == len(parts)):
            loss = losses(parallel, part, config).mean() * (share * len(part) / len(rows))
            loss.backward()
        total += loss.detach()
    return total


def losses(model: torch.nn.Module, rows: Tensor, config: TrainConfig) -> Tensor:
    """The loss in nats of predicting each token of `rows` (B, T + 1) but the first; (B, T), float32."""
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=config.precision != "fp32"):
        return model(rows[:, :-1], rows[:, 1:])
