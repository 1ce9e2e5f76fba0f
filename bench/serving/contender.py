"""A contender without a server: a process that is given the inputs on stdin and says on stdout what it measured.

All prompts of a round go into one batch from its first step to its last, with no HTTP around it: what a contender can
do at best. Standard library only, since one of them has no torch.
"""

import json
import sys
import time
from typing import Any, Protocol

Load = dict[str, Any]  # seconds, tokens, and the seconds to the first token of each answer

THREADS = 2


class Contender(Protocol):
    def answer(self, prompts: list[list[int]], tokens: int) -> list[float]:
        """Continue all prompts together, greedily, by `tokens` each; time.perf_counter() at each step."""
        ...

    def bits(self, window: list[int]) -> float:
        """Bits of all tokens of `window` but the first."""
        ...


def main(contender: Contender) -> None:
    """Measure what stdin asks for."""
    inputs = json.load(sys.stdin)
    prompts = iter(inputs["prompts"])
    if inputs["rounds"]:
        contender.answer([next(prompts)], inputs["tokens"])  # warms up
        next(prompts)
    loads = []
    for clients, rounds in inputs["rounds"]:
        for _ in range(rounds):
            began = time.perf_counter()
            steps = contender.answer([next(prompts) for _ in range(clients)], inputs["tokens"])
            loads.append(
                {
                    "clients": clients,
                    "seconds": steps[-1] - began,
                    "tokens": clients * len(steps),
                    "first": [steps[0] - began] * clients,
                }
            )
    found = {"loads": loads, "memory": memory()}
    found["bits"] = sum(contender.bits(window) for window in inputs["windows"])
    print(json.dumps(found))


def memory(process: int | str = "self") -> dict[str, int]:
    """Bytes that a process holds in memory: `rss` all, `pss` with a share of what others hold too, `anonymous` without
    any file: that one does not grow when another process ends."""
    with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
        fields = [line.split() for line in file]
    return {
        name: int(line[1]) * 1024
        for line in fields
        for name in ("rss", "pss", "anonymous")
        if line[0] == f"{name.title()}:"
    }
