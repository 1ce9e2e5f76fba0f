"""The training under torch's profiler: where a worker's time goes. Rank 0 says it as one JSON line on stderr."""

import json
import sys
from typing import Any

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from workloads.training import train
from workloads.training.step import Run
from workloads.training.workers import end_process

STEPS = range(20, 60)  # the first ones warm up
TOP = 8

recorder: profile | None = None
plain_step = train.take_step


def take_step(run: Run) -> tuple[Tensor, Tensor]:
    global recorder
    if run.step == STEPS.start:
        recorder = profile(activities=[ProfilerActivity.CPU])
        recorder.start()
    done = plain_step(run)
    if run.step == STEPS.stop and recorder:
        recorder.stop()
        if run.workers.rank == 0:
            print(
                json.dumps({"step": run.step, "profile": shares(recorder.key_averages())}),
                file=sys.stderr,
                flush=True,
            )
    return done


def shares(operators: Any) -> list[tuple[str, float]]:
    """The operators that take most of the processor's time, each with its own share of it."""
    times = {each.key: each.self_cpu_time_total for each in operators}
    total = sum(times.values())
    top = sorted(times, key=lambda name: -times[name])[:TOP]
    return [(name, round(times[name] / total, 4)) for name in top]


if __name__ == "__main__":
    train.take_step = take_step
    end_process(train.main, sys.argv[1:])
