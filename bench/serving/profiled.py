"""Where the time of a token goes: python -m bench.serving.profiled URI DIGEST COMPILED < inputs."""

import json
import statistics
import sys
from itertools import pairwise
from typing import Any

from torch.profiler import ProfilerActivity, profile

from bench.profiled import shares
from bench.serving.engine import Ours


def measured(engine: Ours, inputs: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a decode step of one stream without a server, and the operators that take most of them."""
    prompts, tokens = inputs["prompts"], inputs["tokens"]
    engine.answer(prompts[:1], tokens)
    steps = engine.answer(prompts[1:2], tokens)
    with profile(activities=[ProfilerActivity.CPU]) as recorder:
        engine.answer(prompts[2:3], tokens)
    seconds = statistics.median(after - before for before, after in pairwise(steps))
    return {"step": seconds, "shares": shares(recorder.key_averages())}


if __name__ == "__main__":
    print(json.dumps(measured(Ours(*sys.argv[1:]), json.load(sys.stdin))))
