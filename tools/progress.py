"""What a set-up says while it works: plain lines on stderr, so that stdout stays a command's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HEARTBEAT_S = 20


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def beating(line: Callable[[float], str], every_s: float) -> Iterator[None]:
    """Say a line, made from the seconds gone by, again and again while the block works."""
    began = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(every_s):
            say(line(time.monotonic() - began))

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()


def run(
    command: list[str],
    what: str,
    about_s: int,
    *,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    heartbeat_s: float = HEARTBEAT_S,
) -> subprocess.CompletedProcess[str]:
    """Run a long command, its output kept, progress told every `heartbeat_s`; it dies with us."""
    # A set-up killed in the middle must not leave a pip behind that races the next one.
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command
    with beating(lambda gone_s: f"{what}: {gone_s:.0f} s of about {about_s} s", heartbeat_s):
        return subprocess.run(
            tied,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def tail(output: str, lines: int = 15) -> str:
    """The end of a command's output, indented, for an error."""
    return "\n".join("    " + line for line in output.strip().splitlines()[-lines:])
