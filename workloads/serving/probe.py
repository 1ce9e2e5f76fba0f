"""Quality of a model while it serves: the canary's bits per byte, measured again and again beside what was published.

It never holds a request up by more than one pass of 64 tokens: each pass begins only while nobody asks anything, on a
thread that the system schedules last. A server that is never idle measures nothing, and the figure's time says so.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from workloads.serving.artifact import Artifact
from workloads.serving.log import failure, say
from workloads.serving.state import State

if TYPE_CHECKING:
    from workloads.serving.model import Decoder

IDLE_POLL_SECONDS = 0.05
LAST = 19  # the lowest of the system's priorities


def watch(
    state: State,
    artifact: Artifact,
    decoder: "Decoder | None",
    idle: Callable[[], bool],
    every_seconds: float | None,
) -> None:
    """Tell what was published and, with `every_seconds`, what is measured here; returns at once."""
    published = artifact.facts.get("canary", {}).get("value")
    if published is not None:
        state.metrics.published(state.name, state.version, published)
    if every_seconds is None:
        return
    if decoder is None or published is None:
        why = "an encoder's is not" if decoder is None else "its artifact has no canary; publish it again"
        say(f"--probe-seconds: quality is not measured: {why}", "probe_off")
        return

    def tell(value: float) -> None:
        state.metrics.measured(state.name, state.version, value)

    arguments = (decoder, Tokenizer.from_str(artifact.tokenizer), artifact.canary, idle, tell, every_seconds)
    threading.Thread(target=_repeat, args=arguments, name="probe", daemon=True).start()


def round_of(decoder: "Decoder", tokenizer: Tokenizer, texts: list[str], idle: Callable[[], bool]) -> float:
    """Bits per byte of `texts`, a pass at a time, each begun only when `idle`."""
    from workloads.serving.canary import WINDOW
    from workloads.serving.quality import rate, windows

    found = []
    passes = windows(decoder, tokenizer, texts, WINDOW)
    while True:
        while not idle():
            time.sleep(IDLE_POLL_SECONDS)
        if (one := next(passes, None)) is None:
            return rate(found)
        found.append(one)


def _repeat(
    decoder: "Decoder",
    tokenizer: Tokenizer,
    texts: list[str],
    idle: Callable[[], bool],
    tell: Callable[[float], None],
    every_seconds: float,
) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LAST)  # of this thread, on Linux
        while True:
            tell(round_of(decoder, tokenizer, texts, idle))
            time.sleep(every_seconds)
    except Exception as error:
        failure("measuring quality", error)
