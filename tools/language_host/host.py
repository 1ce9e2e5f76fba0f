"""A Python language host in one file: Pulumi's own automation server, running the project's `__main__.py`.

The engine starts it with its own address, reads the port from its stdout, and asks it to Run.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from pulumi import RunError
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
NOT_THE_PROGRAM = (__file__, "<frozen runpy>")
MAX_MESSAGE = 1 << 30  # bytes; the engine's own limit is 400 MB


class Host(LanguageServer):
    """Runs the program that the request names, where the SDK's own server runs a function it was given."""

    def Run(self, request, context):
        """Point at the project's program, then let the SDK do the rest."""
        folder = Path(request.info.program_directory or request.pwd)
        entry = folder / (request.info.entry_point or ".") / "__main__.py"
        os.chdir(folder)
        first = [str(folder), str(ROOT)]
        sys.path[:] = first + [path for path in sys.path if path not in first]
        self.program = lambda: run_program(entry)
        try:
            result = super().Run(request, context)
        except RunError:
            # What else waited for the same failure, when the loop was closed: it has been logged already.
            return language_pb2.RunResponse(bail=True)
        if result.error:  # it has been logged; `bail` keeps the engine from saying it a second time
            result.error, result.bail = "", True
        return result


def run_program(entry: Path) -> None:
    """Run a program; a bug in it is told from the program's first line on, without the frames around it."""
    try:
        runpy.run_path(str(entry), run_name="__main__")
    except RunError:
        raise
    except Exception as error:
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename in NOT_THE_PROGRAM:
            frames = frames.tb_next
        told = "".join(traceback.format_exception(type(error), error, frames))
        raise RunError(f"the program failed:\n{told}") from error


def end_with(parent: int, address: str) -> None:
    """End when the engine ends, also when it is killed."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError):
        os._exit(1)  # it was gone before we were up, so `parent` is not its id
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Serve until the engine is gone."""
    address = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    threading.Thread(target=end_with, args=(os.getppid(), address), daemon=True).start()
    # The engine ends its plugins by SIGINT and waits seconds for one that does not listen.
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    limits = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=limits)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(lambda: None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    stopped.wait()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
