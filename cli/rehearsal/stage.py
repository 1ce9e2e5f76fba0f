"""The stage of a rehearsal: a temporary folder that holds everything, and goes with everything that runs in it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cli.engine import ROOT, EngineError
from tools import processes
from tools.engine import engine_path

KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
"""All that the engine and the program get of the caller's environment, PATH aside: no login, no credential."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""The engine ends also when we are killed."""
SAMPLE_S = 0.2


@dataclass(frozen=True)
class Done:
    """A run of the engine."""

    status: int
    text: str
    """Everything that it printed."""
    seconds: float
    peak_mb: float
    """Highest sum of resident memory, in 10^6 bytes, over all processes of the rehearsal, the stand-ins included."""


@dataclass(frozen=True)
class Stage:
    """Where the engine runs."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, cwd: Path, *arguments: str) -> Done:
        """Runs the engine in a folder until it ends."""
        output = self.folder / "output"
        began = time.monotonic()
        with output.open("wb") as written, _peak() as peak:
            process = subprocess.Popen(
                [*TIED, "pulumi", *arguments, "--non-interactive", "--color", "never"],
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = process.wait()
            seconds = time.monotonic() - began
        return Done(status, output.read_text(errors="replace"), seconds, peak())

    def read(self, cwd: Path, *arguments: str) -> Any:
        """Runs the engine and reads the JSON that it prints; raises `EngineError` when it fails."""
        done = self.run(cwd, *arguments)
        if done.status != 0:
            raise EngineError(f"`pulumi {' '.join(arguments)}` failed:\n{done.text.strip()}")
        return json.loads(done.text)


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage with stand-ins that listen. Whatever ends the block, nothing of it is left."""
    with _on(ENDING, _leave):
        folder = Path(tempfile.mkdtemp(prefix="skerry-rehearsal-"))
        try:
            environment = _environment(folder)
            ports = _stand_ins(folder, environment)
            attached = ",".join(f"{name}:{port}" for name, port in ports.items())
            yield Stage(folder, {**environment, "PULUMI_DEBUG_PROVIDERS": attached})
        finally:
            with _on(ENDING, signal.SIG_IGN):  # a second Ctrl-C must not keep anything alive
                processes.end(inside=folder)
                shutil.rmtree(folder)


def _environment(folder: Path) -> dict[str, str]:
    """Everything that the engine would write or look up lies in the folder."""
    for name in ("home", "state", "tmp"):
        (folder / name).mkdir()
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **kept,
        "PATH": os.pathsep.join([*map(str, engine_path()), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PULUMI_HOME": str(folder / "home" / ".pulumi"),
        "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_ERROR_OUTPUT_STRING": "true",  # an Output that is pasted into a text is a mistake
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "SKERRY_REHEARSAL": "1",
    }


def _stand_ins(folder: Path, environment: Mapping[str, str]) -> dict[str, int]:
    """Starts the stand-ins; their port, by package."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.rehearsal", str(os.getpid()), str(folder)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as told:
        line = told.readline()
    if not line:
        raise EngineError("the stand-ins did not start; the reason stands above. Run `./skerry doctor`.")
    return json.loads(line)


@contextmanager
def _peak() -> Iterator[Callable[[], float]]:
    """Watches the memory of everything below this process; afterwards, the highest sum in MB."""
    highest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            highest.append(sum(map(_resident, psutil.Process().children(recursive=True))))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: max(highest) / 1e6
    finally:
        done.set()
        watcher.join()


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def _on(numbers: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    """Handles signals in a block, those aside that the caller ignores."""
    minded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in minded}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _leave(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
