"""torchrun with the exit code of the training: it itself ends with 1 whatever befell the workers.

    python -m workloads.training.torchrun --standalone --nproc-per-node 2 -m workloads.training.train --output out/model

Takes torchrun's own arguments. 0: all workers ended well. Else the code of the first worker that failed in the last
try (the lowest rank's where torchrun, which looks ten times a second, finds several), 128 + the signal's number where
it was killed. A launcher that gets SIGTERM hands it on, waits --shutdown-timeout seconds (torchrun's; 30) for its
workers and ends with what they ended with: 75 when the run was kept. See train.py.

Two things are otherwise than torch's agent does them: workers that stop since a machine joins or another one failed
have --shutdown-timeout too (torch gives them 30 seconds whatever it says), and a run whose --stop-at is over is not
started again.
"""

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from torch.distributed import run as torchrun
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api

from workloads.training.preemption import PREEMPTED
from workloads.training.workers import LEFT_CODES

ABOUT = 5.0  # seconds: what the machines' clocks may differ by; too few to begin again, too


class Agent(LocalElasticAgent):
    """Starts the workers of this machine and watches them, as torch's does but for what is said above."""

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
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
