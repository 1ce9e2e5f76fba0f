"""A training run that another program watches: it starts, its JSON lines are read as they come, and it can be ended."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workloads.training.launch import tied


class TrialProcess:
    """A context: at its end the process is gone, whether it had come to its end or not."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, patience: float
    ) -> None:
        """Start `command`; what it says also goes to `log`. `patience`: seconds from SIGTERM to SIGKILL."""
        self.log, self.patience = log, patience
        self._process = subprocess.Popen(
            tied(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, which can be ended as one
        )

    def __enter__(self) -> "TrialProcess":
        return self

    def end(self) -> None:
        """Ask it to end, and kill it after `patience` if it has not. Does not wait: a signal's handler may call it."""
        self._signal(signal.SIGTERM)
        killer = threading.Timer(self.patience, self._signal, (signal.SIGKILL,))
        killer.daemon = True
        killer.start()

    def _signal(self, kind: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, kind)

    def __exit__(self, *_: object) -> None:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            self._signal(kind)
            with suppress(subprocess.TimeoutExpired):
                # Reads on while it waits: a full pipe would stop the process.
                rest, _stderr = self._process.communicate(timeout=self.patience)
                with open(self.log, "a", encoding="utf-8") as log:
                    log.write(rest)
                return

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every JSON object that it says, until it says no more."""
        assert self._process.stdout
        with open(self.log, "w", encoding="utf-8") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                with suppress(ValueError):  # also where a launcher's own words ran into the line
                    found, _ = json.JSONDecoder().raw_decode(line, line.index("{"))
                    yield found

    def code(self) -> int:
        """Its exit code, waited for."""
        return self._process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-8:])
