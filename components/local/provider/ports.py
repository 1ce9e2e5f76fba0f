"""Who listens on a port of this machine."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import psutil

from components.local.provider.control import Control


def is_free(port: int) -> bool:
    """Whether the port can be bound on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holder(port: int) -> psutil.Process | None:
    """The process that listens there, None when there is none or it is another user's."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if _listens(connection, port) and connection.pid:
                return psutil.Process(connection.pid)
    return None


def describe_holder(port: int) -> str:
    """Who listens there, for messages."""
    found = holder(port)
    with contextlib.suppress(psutil.Error):
        if found is not None:
            return f"pid {found.pid}, `{' '.join(found.cmdline())[:120]}`"
    return f"`ss -ltnp 'sport = :{port}'` names it to its owner"


def family_listens(pid: int, port: int) -> bool:
    """Whether this process or a descendant of it listens on the port."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return False
    for member in family:
        with contextlib.suppress(psutil.Error):
            if any(_listens(connection, port) for connection in member.net_connections("tcp")):
                return True
    return False


def supervised_as(process: psutil.Process, run: Path) -> tuple[Path, str] | None:
    """Folder of the supervisor and name of the program that a process belongs to; None when to none below `run`."""
    with contextlib.suppress(psutil.Error):
        child = process
        for parent in process.parents():
            folder = Path(parent.cwd())
            if folder.parent == run.resolve() and Control(folder).pid() == parent.pid:
                return folder, child.environ().get("SUPERVISOR_PROCESS_NAME", "")
            child = parent
    return None


def _listens(connection: Any, port: int) -> bool:
    return connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
