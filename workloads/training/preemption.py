"""Being asked to stop: by SIGTERM, which a machine that is taken away sends, or by a time that was given before.

A run that keeps checkpoints ends its step, writes one and exits with PREEMPTED: start it again and it goes on. Before
its first step and where nothing is kept it ends at once, with 128 + the signal's number.
"""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from workloads.training.workers import Workers

PREEMPTED = 75  # sysexits.h, EX_TEMPFAIL: try again later
STOPPED = 128 + signal.SIGTERM


class Preemption:
    def __init__(self) -> None:
        """From now on SIGTERM raises SystemExit, so that what is being written is cleared away."""
        self.exit_code = STOPPED
        self.signalled = False
        self._deferred = self._answered = False
        self._group: dist.ProcessGroup | None = None
        signal.signal(signal.SIGTERM, self._on_signal)

    @contextmanager
    def deferred(self, workers: Workers) -> Iterator[None]:
        """Within, SIGTERM only makes `asked` true; one that came behind the last question ends the run on leaving.

        A run that ends since a worker was asked to does not heed it any more: the end takes a bounded time.
        """
        self._group = workers.group()
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
            if self._answered:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.signalled and not self._answered:
            raise SystemExit(self.exit_code)

    def asked(self, stop_at: float) -> bool:
        """Whether a worker got SIGTERM, or the clock of one has passed `stop_at` (Unix time, 0 for never).

        Every worker must ask, and gets the same answer.
        """
        asked = torch.tensor(float(self.signalled or 0 < stop_at <= time.time()))
        if self._group:
            dist.all_reduce(asked, dist.ReduceOp.MAX, group=self._group)
        self._answered = bool(asked)
        return self._answered

    def nothing_is_lost(self) -> None:
        """All steps are in a checkpoint: whatever stops the run from here on, it can go on."""
        self.exit_code = PREEMPTED

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the clearing
        self.signalled = True
        if self._deferred:
            print("SIGTERM: the step ends, then comes a checkpoint", file=sys.stderr, flush=True)
            return
        print("stopped by SIGTERM; nothing was published", file=sys.stderr, flush=True)
        raise SystemExit(self.exit_code)
