"""One worker thread that generates, behind a small queue, fed from the event loop.

The model answers one request at a time; others wait, and beyond the queue's length are turned away. A job
that is cancelled while waiting leaves the queue at once, a running one stops at its next token.
Does not import torch: the loader it is given does, on the worker thread, while health answers already work.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from workloads.serving import log
from workloads.serving.terms import Options, Piece


class QueueFull(Exception):
    """No place in the queue; try again when another answer is done."""


class Generates(Protocol):
    """What the worker needs of a model."""

    def generate(
        self, prompt: Sequence[int], options: Options, cancelled: Callable[[], bool]
    ) -> Iterator[Piece]: ...


class Job:
    """One request on its way. Read it with `next()` on the event loop that made it."""

    def __init__(self, prompt: list[int], options: Options) -> None:
        self.prompt = prompt
        self.options = options
        self.finished = False  # the last piece was read, and it was not an early end
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

    def give(self, piece: Piece | Exception) -> None:
        """Hand over the next piece, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
        except RuntimeError:  # the loop has closed: nobody is left to read
            self.cancel()


class Engine:
    """The queue and its worker. `waiting_limit` jobs may wait beside the one that runs."""

    def __init__(self, waiting_limit: int) -> None:
        self._limit = waiting_limit
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()

    def start(self, model: Generates) -> None:
        """Begin to answer with `model`."""
        threading.Thread(target=self._work, args=(model,), name="generate", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue `job`. Raises QueueFull."""
        with self._changed:
            busy = 1 if self._running else 0
            if len(self._waiting) + busy > self._limit:
                raise QueueFull
            self._waiting.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """End `job` early, wherever it is; harmless when it has ended."""
        job.cancel()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.give(Piece("", 0, "cancelled"))  # no worker will

    def waiting(self) -> int:
        return len(self._waiting)

    def running(self) -> int:
        return 1 if self._running else 0

    def cancel_all(self) -> None:
        """End everything early, for a shutdown that ran out of time."""
        with self._changed:
            if self._running:
                self._running.cancel()
            waiting = list(self._waiting)
        for job in waiting:
            self.cancel(job)

    def _work(self, model: Generates) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = self._running = self._waiting.popleft()
            try:
                for piece in model.generate(job.prompt, job.options, job.cancelled):
                    job.give(piece)
            except Exception as error:
                log.failure("generating an answer", error)
                job.give(error)
            finally:
                with self._changed:
                    self._running = None
