"""Starts supervisord in a folder, and says whether it should be running there.

The provider starts one, and so does the watch of another supervisor after one died. A lock in the folder lets one of
them do it, and `ENDING` keeps the watch from starting one that is being ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from components.local.provider.control import Control
from components.local.provider.lifecycle import ResourceError

CONFIGURATION, ENDING, LOCK = "supervisord.conf", "ending", "start.lock"
START_WAIT_SECONDS = 30
PACKAGE_ROOT = Path(__file__).resolve().parents[3]

# supervisord makes paths absolute, and a socket's may hold 107 bytes; through its working directory, which stays
# the folder, a clone may lie as deep as it likes. The listener's clock is supervisord's: an event every five seconds.
SETTINGS = """\
[supervisord]
logfile = supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = supervisord.pid
umask = 077
[unix_http_server]
file = /proc/self/cwd/control.sock
chmod = 0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:_watch]
command = setpriv --pdeathsig KILL -- "{python}" -m components.local.provider.watch
environment = PYTHONPATH="{package_root}"
events = TICK_5
stdout_logfile = NONE
stderr_logfile = logs/_watch.log
stderr_logfile_maxbytes = 1MB
stderr_logfile_backups = 1
[include]
files = programs/*.conf
"""


def start(folder: Path) -> None:
    """Starts supervisord in `folder` and waits until it answers. Does nothing where it runs.

    Raises:
        ResourceError: it does not start, or does not answer.
    """
    for part in (folder, folder / "programs", folder / "logs"):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(folder):
        (folder / ENDING).unlink(missing_ok=True)
        if _answers(folder):
            return
        settings = SETTINGS.format(python=_escaped(sys.executable), package_root=_escaped(str(PACKAGE_ROOT)))
        (folder / CONFIGURATION).write_text(settings)
        try:
            started = subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", CONFIGURATION],
                cwd=folder,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=START_WAIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _not_started(folder, f"it took longer than {START_WAIT_SECONDS} s") from None
        deadline = time.monotonic() + START_WAIT_SECONDS
        while started.returncode == 0 and time.monotonic() < deadline:
            if _answers(folder):
                return
            time.sleep(0.05)
        raise _not_started(folder, started.stderr.strip() or "no answer")


def should_run(folder: Path) -> bool:
    """Whether supervisord was started in `folder`, was not asked to end, and is not there."""
    if not (folder / CONFIGURATION).exists() or (folder / ENDING).exists():
        return False
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(Control(folder).pid())
        return process.status() == psutil.STATUS_ZOMBIE or Path(process.cwd()) != folder.resolve()
    return True


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time starts or ends supervisord in `folder`."""
    with open(folder / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def clean_environment() -> dict[str, str]:
    """What a child inherits: nothing of the caller's credentials, only what finding programs takes."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}


def _answers(folder: Path) -> bool:
    with Control(folder).connection() as rpc:
        return rpc is not None


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _not_started(folder: Path, why: str) -> ResourceError:
    return ResourceError(
        f"The supervisor in {folder} did not start: {why}. Read {folder / 'supervisord.log'}, then run `up` again."
    )
