"""What a run says of its steps and what it has cost, and the refusal to go on with numbers that are none."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from workloads.training.config import TrainConfig
from workloads.training.lines import Lines
from workloads.training.optimizer import learning_rate
from workloads.training.peaks import flops_per_token, peak_flops
from workloads.training.workers import Workers


class Progress:
    """Sums over the steps since the last line. They stay on the device: a GPU is waited for once a line."""

    def __init__(self, config: TrainConfig, workers: Workers, device: torch.device, lines: Lines) -> None:
        self.config, self.workers, self.lines = config, workers, lines
        self.device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        self.train_loss: float | None = None  # nats per token, mean over the steps of the last line
        self.steps = 0  # taken by this process
        self.lives, self._cost_before, self._rate_before = 1, 0.0, 0.0
        self._born = self.began = self.line_began = time.perf_counter()
        self._losses = torch.zeros((), device=device)
        self._in_line = 0
        self._stall = 0.0
        self._never = torch.tensor(config.steps + 1, device=device)  # whole: float32 ends at 2**24
        self._first_bad = self._never

    def begin(self, step: int, facts: dict[str, Any], about: dict[str, Any]) -> None:
        """The steps begin, after `step` of earlier lives whose `facts` were kept; tell `about` the run."""
        self.lives = facts.get("lives", 0) + 1
        self._cost_before = facts.get("device_seconds", 0.0)
        self.train_loss, self._rate_before = facts.get("train_loss"), facts.get("tokens_per_second", 0.0)
        flops = flops_per_token(self.config.model, about["parameters"])
        peak, unknown = peak_flops(self.device_name, self.config.precision)
        self._tokens_to_mfu = flops / (peak * self.workers.world) if peak else None
        self.lines.tell(
            {
                **about,
                "life": self.lives,
                "from_step": step,
                "of_steps": self.config.steps,
                "world_size": self.workers.world,
                "device": self.device_name,
                "precision": self.config.precision,
                "flops_per_token": flops,
                **({"peak_flops": peak} if peak else {"no_mfu": unknown}),
            }
        )
        self.lines.begin(self.config.steps, step)
        self.began = self.line_began = time.perf_counter()

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps for the lives to come; one that has no step left has no other numbers to publish."""
        return {
            "lives": self.lives,
            "device_seconds": self.device_seconds(),
            "train_loss": self.train_loss,
            "tokens_per_second": self.tokens_per_second(),
        }

    def cost(self) -> dict[str, Any]:
        """What the run took: seconds of this process, hours of all devices over all lives."""
        seconds = round(time.perf_counter() - self._born, 2)
        return {
            "seconds": seconds,
            "lives": self.lives,
            "device_hours": round(self.device_seconds() / 3600, 6),
        }

    def device_seconds(self) -> float:
        """Time of all devices over all lives; of a life that was killed, up to the checkpoint that was gone on from."""
        return round(self._cost_before + self.workers.world * (time.perf_counter() - self._born), 2)

    def add(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Count one step: this worker's loss, and the norm of the gradient before clipping, the same on all workers."""
        self._losses += loss
        self._in_line += 1
        self.steps += 1
        self._norm = norm
        bad = torch.where(torch.isfinite(norm), self._never, torch.full_like(self._never, step))
        self._first_bad = torch.minimum(self._first_bad, bad)
        self.lines.advance()

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

    def tell(self, step: int, stall: float, data_wait: float) -> None:
        """Tell the line of this step; every worker must call it.

        `stall`, `data_wait`: seconds that this worker stood still for checkpoints and for its rows, so far.
        """
        train_loss = float(self.workers.sum(self._losses)) / (self._in_line * self.workers.world)
        self.refuse_bad_numbers()
        self.train_loss = train_loss
        now = time.perf_counter()
        seconds = now - self.line_began
        rate = self._in_line * self.config.batch * self.config.model.context / seconds
        line = {
            "step": step,
            "loss": train_loss,
            "tokens_per_second": round(rate, 1),
            "mfu": round(rate * self._tokens_to_mfu, 4) if self._tokens_to_mfu else None,
            "grad_norm": float(self._norm),
            "learning_rate": learning_rate(self.config, step),
            "step_seconds": round((seconds - stall + self._stall) / self._in_line, 6),
            "data_wait_seconds": round(data_wait, 4),
            **({"checkpoint_stall_seconds": round(stall, 4)} if self.config.checkpoints else {}),
        }
        self.lines.tell(line)
        self._losses.zero_()
        self._in_line, self._stall = 0, stall
        self.line_began = now
        gc.collect()  # at a place of our choice; within a step it is off

    def evaluated(self, step: int, bits_per_byte: float) -> None:
        self.lines.tell({"evaluation": "held-out", "at_step": step, "bits_per_byte": bits_per_byte})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done within is no training: no line counts its time."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.began += seconds
        self.line_began += seconds

    def tokens_per_second(self) -> float:
        """Over all steps of this process, to this moment; without one, as the life before left it."""
        if not self.steps:
            return self._rate_before
        tokens = self.steps * self.config.batch * self.config.model.context
        return round(tokens / (time.perf_counter() - self.began), 1)
