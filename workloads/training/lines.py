"""The lines of a run: one JSON object each on stderr, kept in a file, and told to whoever else listens.

    {"run": ...}          a life of the run begins; a run that is stopped and goes on has several
    {"step": ...}         progress, every --log-every steps
    {"evaluation": ...}   bits per held-out byte
    {"checkpoint": ...}   published, loaded, refused, failed
    {"ended": ...}        this life ends: published, preempted, stopped or failed

Rank 0 tells; the others are silent. On a terminal a bar shows the way that is left.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from workloads.training.flags import ConfigError

Line = dict[str, Any]


class Lines:
    def __init__(self, rank: int, log: str = "") -> None:
        """`log` names a file to append to; empty keeps none. Raises ConfigError when it cannot be written."""
        self.silent = rank != 0
        self.listeners: list[Callable[[Line], None]] = []
        self._ended = False
        self._lock = threading.Lock()  # checkpoints are told of from their own thread
        self._bar: tqdm | None = None
        self._log = self._open(log) if log and not self.silent else None

    def tell(self, line: Line) -> None:
        """Say one line, with the time it was said at in Unix seconds."""
        if self.silent:
            return
        line = {**line, "time": round(time.time(), 3)}
        with self._lock:
            self._say(json.dumps(line))
            self._keep(json.dumps(line))
            for listener in self.listeners:
                listener(line)

    def begin(self, steps: int, done: int) -> None:
        """Show a bar from here on, on a terminal."""
        if not self.silent and sys.stderr.isatty():
            self._bar = tqdm(total=steps, initial=done, unit="step", file=sys.stderr, dynamic_ncols=True)

    def advance(self) -> None:
        """One more step was taken."""
        if self._bar is not None:
            self._bar.update()

    def end(self, line: Line) -> None:
        """Say how this life ended, unless it was said."""
        if not self._ended:
            self._ended = True
            self.tell(line)

    def close(self) -> None:
        """Nothing more is told."""
        if self._bar is not None:
            self._bar.close()
        if self._log:
            self._log.close()

    def _say(self, text: str) -> None:
        if self._bar is None:
            sys.stderr.write(f"{text}\n")  # at once: other workers and torchrun write there too
        else:
            self._bar.write(text, file=sys.stderr)

    def _keep(self, text: str) -> None:
        if self._log is None:
            return
        try:
            self._log.write(f"{text}\n")
            self._log.flush()
        except OSError as error:  # a full disk: the run is worth more than its log
            self._log = None
            self._say(json.dumps({"log": "given up", "why": str(error)}))

    @staticmethod
    def _open(log: str) -> TextIO:
        try:
            path = Path(log)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a", encoding="utf-8")  # noqa: SIM115, closed with the lines
            if file.tell():
                file.write("\n")  # a killed life may have left half a line
            return file
        except OSError as error:
            raise ConfigError(
                f"log={log!r}: must be a file that can be written ({error}); give another, or none"
            ) from error
