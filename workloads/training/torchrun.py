"""torchrun with the exit code of the training: it itself ends with 1 whatever befell the workers.

    python -m workloads.training.torchrun --standalone --nproc-per-node 2 -m workloads.training.train --output out/model

Takes torchrun's own arguments. 0: all workers ended well. Else the code of the first worker that failed in the last
try (the lowest rank's where torchrun, which looks ten times a second, finds several), 128 + the signal's number where
it was killed. A launcher that gets SIGTERM hands it on, waits --shutdown-timeout seconds (torchrun's; 30) for its
workers and ends with what they ended with: 75 when the run was kept. See train.py. 69: the rendezvous failed, not the
training. The store could not be reached or was lost, or too few machines came in time. Start the launcher again.

This launcher differs from torch's agent in four points:
- Workers that stop because a machine joins or another worker failed have --shutdown-timeout seconds, too. torch gives
  them 30 seconds.
- A run whose --stop-at is over is not started again.
- A restart that was caused by the loss of a machine does not count against --max-restarts.
- A launcher that fails leaves the rendezvous open, so that it can be started again and join the other launchers.
"""

import os
import secrets
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from torch.distributed import DistNetworkError, DistStoreError  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed import run as torchrun
from torch.distributed.elastic.agent.server.api import DEFAULT_ROLE, RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher import api

from workloads.training.preemption import PREEMPTED
from workloads.training.workers import LEFT_CODES, end_process

UNAVAILABLE = 69  # sysexits.h, EX_UNAVAILABLE: the rendezvous failed; another try may succeed
ABOUT = 5.0  # seconds: what the machines' clocks may differ by; too few to begin again, too


class Agent(LocalElasticAgent):
    """Starts the workers of this machine and watches them, as torch's does but for what is said above."""

    _peers: frozenset[bytes] = frozenset()
    """Tokens of the launchers in the current round of the rendezvous."""
    _failed = False
    """Whether the workers of this machine failed, so that the next round follows a restart that counts."""

    def run(self, role: str = DEFAULT_ROLE) -> RunResult:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._token = secrets.token_bytes(8)
        handler = self._worker_group.spec.rdzv_handler
        # torch closes the rendezvous however the launcher ends, and a closed rendezvous refuses everybody.
        close, handler.shutdown = handler.shutdown, lambda: True
        result: RunResult = super().run(role)  # pyright: ignore[reportCallIssue, reportAssignmentType]
        if not result.is_failed():
            handler.shutdown = close
        return result

    def _rendezvous(self, worker_group: WorkerGroup) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        super()._rendezvous(worker_group)  # pyright: ignore[reportCallIssue]
        before, self._peers = self._peers, self._exchange_tokens(worker_group)
        if self._failed and before - self._peers:
            self._remaining_restarts += 1
        self._failed = False

    def _exchange_tokens(self, worker_group: WorkerGroup) -> frozenset[bytes]:
        """The tokens of all launchers of this round. Waits until every launcher has written its own."""
        store, size = worker_group.store, worker_group.group_world_size or 1
        assert store, "the rendezvous gave it"
        store.set(f"launcher/{worker_group.group_rank}", self._token)
        return frozenset(store.multi_get([f"launcher/{rank}" for rank in range(size)]))

    # The types that torch gives to what it measures by its decorator `prof` are not those of methods.
    def _initialize_workers(self, worker_group: WorkerGroup) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        for left in Path(os.environ[LEFT_CODES]).iterdir():
            left.unlink()  # an earlier life's
        super()._initialize_workers(worker_group)  # pyright: ignore[reportCallIssue]

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        started: dict[int, Any] = super()._start_workers(worker_group)  # pyright: ignore[reportCallIssue, reportAssignmentType]
        context = self._pcontext
        assert context, "the workers were started"
        close = context.close
        context.close = lambda death_sig=None, timeout=0: close(death_sig, self._shutdown_timeout)
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:  # pyright: ignore[reportIncompatibleVariableOverride]
        result: RunResult = super()._monitor_workers(worker_group)  # pyright: ignore[reportCallIssue, reportAssignmentType]
        # By SIGTERM to one machine all leave with that code too: then the time is not over, and the others go on.
        left = result.state == WorkerState.FAILED and {each.exitcode for each in result.failures.values()}
        if left == {PREEMPTED} and time.time() > _stop_at(worker_group.spec.args) - ABOUT:
            self._remaining_restarts = 0
        self._failed = result.state in (WorkerState.FAILED, WorkerState.UNHEALTHY)
        return result


def _stop_at(arguments: Sequence[str]) -> float:
    """The Unix time at which the workers, which could read it, stop by themselves; never without --stop-at."""
    words = [part for word in arguments for part in str(word).split("=", 1)]
    given = [after for word, after in pairwise(words) if word == "--stop-at"]
    return float(given[-1]) or inf if given else inf


def _whole_words(parser: Callable[[], ArgumentParser] = torchrun.get_args_parser) -> ArgumentParser:
    """torchrun's parser, which else asks whether a training's --log is its own --log-dir."""
    made = parser()
    made.allow_abbrev = False
    return made


def main(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
        os.environ[LEFT_CODES] = folder
        # torchrun has no other way to be given one
        api.LocalElasticAgent = Agent  # pyright: ignore[reportPrivateImportUsage]
        torchrun.get_args_parser = _whole_words
        try:
            torchrun.main(list(arguments))
        except ChildFailedError as failed:
            print(failed, file=sys.stderr, flush=True)
            _, failure = failed.get_first_failure()
            return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
        except SignalException as stopped:
            codes = {int(file.read_text()) for file in Path(folder).iterdir()}
            return codes.pop() if len(codes) == 1 else 128 + stopped.sigval
        except (RendezvousError, DistStoreError, DistNetworkError):
            traceback.print_exc()
            return UNAVAILABLE
        return 0


if __name__ == "__main__":
    end_process(main, sys.argv[1:])  # the rendezvous's own thread may be in the store
