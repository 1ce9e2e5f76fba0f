"""One worker thread that answers, behind a small queue, fed from the event loop.

Up to `slots` jobs run in one batch; others wait, and beyond the queue's length are turned away. A job waits
too while the cache has no room for it: it is let in only with all that it can ever need. A job that is
cancelled while waiting leaves the queue at once, a running one leaves the batch before the next step.
Does not import torch: the loader does, on its own thread, while health answers already work.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Protocol

from workloads.serving import log
from workloads.serving.cache import BLOCK_TOKENS
from workloads.serving.terms import Counts, Options, Piece


class QueueFull(Exception):
    """No place in the queue; try again when another answer is done."""


class EngineEnded(Exception):
    """An engine in a process of its own ended although nobody asked it to; the message says how."""


class Batches(Protocol):
    """What the worker needs of a model; scheduler.py tells what each means."""

    counts: Counts

    @property
    def cache_usage(self) -> float: ...
    @property
    def cache_blocks(self) -> int: ...
    def check(self, prompt: list[int], options: Options) -> None: ...
    def admit(self, prompt: list[int], options: Options) -> Hashable | None: ...
    def drop(self, sequence: Any) -> None: ...
    def step(self) -> Sequence[tuple[Hashable, Piece | Exception]]: ...


class Job:
    """One request on its way. Read it with `next()` on the event loop that made it."""

    def __init__(self, prompt: list[int], options: Options) -> None:
        self.prompt = prompt
        self.options = options
        self.finished = False  # the last piece was read, and it was not an early end
        self.given = 0  # tokens handed over
        self.admitted: float | None = None  # when it left the queue, in seconds of the monotonic clock
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._cancelled = threading.Event()

    async def next(self) -> Piece:
        """The next piece; the one with a finish reason is the last. Raises what generating raised."""
        piece = await self._pieces.get()
        if isinstance(piece, Exception):
            self.finished = True
            raise piece
        self.finished = piece.finish_reason not in (None, "cancelled")
        return piece

    def cancel(self) -> None:
        """Ask for an early end; harmless after the end."""
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def end(self) -> None:
        """Tell the reader that this job was ended early."""
        give([(self, Piece("", self.given, "cancelled"))])


def give(made: Sequence[tuple[Job, Piece | Exception]]) -> None:
    """Hand over each job's next piece, from any thread. A loop is woken once for all: waking it is dear."""
    for loop, pairs in groupby(made, lambda pair: pair[0]._loop):
        together = list(pairs)
        for job, piece in together:
            if isinstance(piece, Piece):
                job.given = piece.tokens
        try:
            loop.call_soon_threadsafe(_put, together)
        except RuntimeError:  # the loop has closed: nobody is left to read
            for job, _ in together:
                job.cancel()


def _put(made: Sequence[tuple[Job, Piece | Exception]]) -> None:
    for job, piece in made:
        job._pieces.put_nowait(piece)


class Engine:
    """The queue and its worker: `slots` jobs run, `waiting_limit` may wait beside them."""

    def __init__(self, waiting_limit: int, slots: int = 1) -> None:
        self._limit = waiting_limit + slots
        self._slots = slots
        self._waiting: deque[Job] = deque()
        self._running: dict[Hashable, Job] = {}
        self._coming = 0  # places held for jobs that are being made
        self._model: Batches | None = None
        self._changed = threading.Condition()

    def start(self, model: Batches) -> None:
        """Begin to answer with `model`, which belongs to the worker thread from now on."""
        self._model = model
        threading.Thread(target=self._work, args=(model,), name="generate", daemon=True).start()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place while a job for it is made; submit it right after. Raises QueueFull."""
        with self._changed:
            self._check_room()
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1

    def _check_room(self) -> None:
        if len(self._waiting) + len(self._running) + self._coming >= self._limit:
            raise QueueFull

    def submit(self, job: Job) -> None:
        """Queue `job`. Raises QueueFull, or what the model raises for a job that it can never answer."""
        if self._model is not None:
            self._model.check(job.prompt, job.options)
        with self._changed:
            self._check_room()
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """End `job` early, wherever it is; harmless when it has ended."""
        job.cancel()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.end()  # no worker will

    def cancel_all(self) -> None:
        """End everything early, for a shutdown that ran out of time."""
        with self._changed:
            jobs = [*self._waiting, *self._running.values()]
        for job in jobs:
            self.cancel(job)

    def waiting(self) -> int:
        return len(self._waiting)

    def running(self) -> int:
        return len(self._running)

    def cache_usage(self) -> float:
        """Share of the key/value cache that running jobs hold, 0 to 1."""
        return self._model.cache_usage if self._model else 0.0

    def cache_blocks(self) -> int:
        """Blocks of that cache; 0 before a model runs."""
        return self._model.cache_blocks if self._model else 0

    def cache_tokens(self) -> int:
        """Tokens of all answers together that the cache holds; 0 before a model runs."""
        return self.cache_blocks() * BLOCK_TOKENS

    def block_tokens(self) -> int:
        """Tokens that one of them keeps."""
        return BLOCK_TOKENS

    def counts(self) -> Counts:
        """What was done so far; all zero before a model runs."""
        return self._model.counts if self._model else Counts()

    def _work(self, model: Batches) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running)
                self._let_go(model)
                self._let_in(model)
            if not self._running:
                continue
            try:
                made = model.step()
            except Exception as error:  # nobody's own: all of this batch must be told
                made = [(sequence, error) for sequence in self._running]
            give([(self._leaving(model, sequence, piece), piece) for sequence, piece in made])

    def _let_go(self, model: Batches) -> None:
        for sequence, job in list(self._running.items()):
            if job.cancelled():
                model.drop(sequence)
                del self._running[sequence]
                job.end()

    def _let_in(self, model: Batches) -> None:
        """First come, first served: a job that waits for cache is not overtaken by smaller ones."""
        while self._waiting and len(self._running) < self._slots:
            job = self._waiting[0]
            try:
                sequence = model.admit(job.prompt, job.options)
            except Exception as error:
                log.failure("letting an answer in", error)
                give([(job, error)])
            else:
                if sequence is None:
                    return
                self._running[sequence] = job
                job.admitted = time.monotonic()
            self._waiting.popleft()

    def _leaving(self, model: Batches, sequence: Hashable, piece: Piece | Exception) -> Job:
        """The job of a sequence, which leaves the batch with its last piece."""
        job = self._running[sequence]
        if isinstance(piece, Exception):
            log.failure("generating an answer", piece)
            model.drop(sequence)
        if isinstance(piece, Exception) or piece.finish_reason:
            with self._changed:
                del self._running[sequence]
        return job
