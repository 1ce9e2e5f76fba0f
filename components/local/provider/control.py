"""Speaks to one supervisord through the socket in its folder, and waits for no answer for ever."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from components.local.provider.lifecycle import ResourceError

SECONDS = 30
"""How long supervisord may take for an answer: it answers at once unless it is stopped or hangs."""


class Control:
    """Args: folder: where supervisord lives; seconds: how long it may take for an answer."""

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self.folder = folder
        self.seconds = seconds

    @contextlib.contextmanager
    def connection(self, stop_seconds: float = 0) -> Iterator[Any]:
        """The control interface, None when no supervisord runs.

        Args:
            stop_seconds: what an answer may take longer, because a program is stopped meanwhile.

        Raises:
            ResourceError: it does not answer in time, or refuses.
        """
        try:
            directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield None
            return
        try:
            # A socket's path may hold 107 bytes; through a descriptor of the folder it is always short.
            transport = _Transport(f"/proc/self/fd/{directory}/control.sock", self.seconds + stop_seconds)
            with contextlib.closing(transport):
                rpc = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
                yield rpc if self._answers(rpc) else None
        except (TimeoutError, BlockingIOError):
            raise self._hangs(self.seconds + stop_seconds) from None
        except xmlrpc.client.Fault as error:
            raise self._broken(error.faultString) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from None
        finally:
            os.close(directory)

    def pid(self) -> int:
        """Process id that supervisord wrote down, 0 when there is none."""
        try:
            return int((self.folder / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return 0

    def wait_gone(self, pid: int, seconds: float) -> None:
        """Waits until supervisord has ended.

        Raises:
            ResourceError: it is still there after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while _runs(pid):
            if time.monotonic() > deadline:
                raise self._hangs(seconds)
            time.sleep(0.05)

    def _answers(self, rpc: Any) -> bool:
        try:
            rpc.getPID()
        except (FileNotFoundError, ConnectionError):
            return False
        except xmlrpc.client.Fault as error:
            if error.faultCode != Faults.SHUTDOWN_STATE:
                raise
            self.wait_gone(self.pid(), self.seconds)  # it is ending: soon there is none
            return False
        return True

    def _hangs(self, seconds: float) -> ResourceError:
        pid = self.pid()
        return ResourceError(
            f"The supervisor in {self.folder} (pid {pid}) did not answer within {seconds:g} s: it is stopped or "
            f"hangs. `kill -CONT {pid}` lets a stopped one go on; `kill -KILL {pid}` ends it with its processes, "
            "and the next `up` starts them again."
        )

    def _broken(self, what: str) -> ResourceError:
        pid = self.pid()
        return ResourceError(
            f"The supervisor in {self.folder} (pid {pid}) failed: {what}. Read {self.folder / 'supervisord.log'}; "
            f"`kill -KILL {pid}` ends it with its processes, and the next `up` starts them again."
        )


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _Connection(UnixStreamHTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self.socketfile = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socketfile)


class _Transport(SupervisorTransport):
    """supervisor's own has no time-out."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__(None, None, f"unix://{path}")
        self._get_connection = lambda: _Connection(path, seconds)
