"""What a set-up says while it works: plain lines on stderr, so that stdout stays a command's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HEARTBEAT_S = 20


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


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
    began = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(heartbeat_s):
            say(f"{what}: {time.monotonic() - began:.0f} s of about {about_s} s")

    # A set-up killed in the middle must not leave a pip behind that races the next one.
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else command
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        return subprocess.run(
            tied,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        done.set()
        heart.join()


def tail(output: str, lines: int = 15) -> str:
    """The end of a command's output, indented, for an error."""
    return "\n".join("    " + line for line in output.strip().splitlines()[-lines:])
