"""What a run says on its way: one JSON object a line on stderr, and the refusal to go on with numbers that are none."""

import gc
import json
import math
import sys
import time

import torch
from torch import Tensor

from workloads.training.config import TrainConfig
from workloads.training.workers import Workers


class Progress:
    """Sums over the steps since the last line. They stay on the device: a GPU is waited for once a line."""

    def __init__(self, config: TrainConfig, workers: Workers, device: torch.device) -> None:
        self.config, self.workers = config, workers
        self.train_loss = math.nan  # nats per token, mean over the steps of the last line
        self.steps = 0  # taken by this process
        self.began = self.line_began = time.perf_counter()
        self._losses = torch.zeros((), device=device)
        self._in_line = 0
        self._never = torch.tensor(float(config.steps + 1), device=device)
        self._first_bad = self._never

    def add(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Count one step: this worker's loss, and the norm of the gradient before clipping, the same on all workers."""
        self._losses += loss
        self._in_line += 1
        self.steps += 1
        self._norm = norm
        bad = torch.where(torch.isfinite(norm), self._never, torch.full_like(self._never, step))
        self._first_bad = torch.minimum(self._first_bad, bad)

    def refuse_bad_numbers(self) -> None:
        """Raises FloatingPointError when a gradient was no number, naming the step; every worker raises it."""
        step = int(self._first_bad)
        if step <= self.config.steps:
            kept = "; the last checkpoint is from before" if self.config.checkpoints else ""
            raise FloatingPointError(
                f"step {step}: the loss or its gradient is no number; lower "
                f"learning_rate={self.config.learning_rate} or clip={self.config.clip}, or raise "
                f"warmup={self.config.warmup}{kept}"
            )

    def tell(self, step: int, stall: float) -> None:
        """Print the line of this step; every worker must call it. `stall`: seconds that checkpoints took so far."""
        self.train_loss = float(self.workers.sum(self._losses)) / (self._in_line * self.workers.world)
        self.refuse_bad_numbers()
        now = time.perf_counter()
        tokens = self._in_line * self.config.batch * self.config.model.context
        line = {
            "step": step,
            "loss": self.train_loss,
            "tokens_per_second": round(tokens / (now - self.line_began), 1),
            "grad_norm": float(self._norm),
            **({"checkpoint_stall_seconds": round(stall, 4)} if self.config.checkpoints else {}),
        }
        if self.workers.rank == 0:
            sys.stderr.write(json.dumps(line) + "\n")  # at once: checkpoints tell lines at the same time
        self._losses.zero_()
        self._in_line = 0
        self.line_began = now
        gc.collect()  # at a place of our choice; within a step it is off

    def tokens_per_second(self) -> float:
        """Over all steps of this process, to this moment; 0 without one."""
        tokens = self.steps * self.config.batch * self.config.model.context
        return round(tokens / (time.perf_counter() - self.began), 1)
