"""A Python language host in one file: Pulumi's own automation server, running the project's `__main__.py`.

The engine starts it, reads the port from its stdout, and asks it to Run. It ends with the engine.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
ONE_GIB = 1 << 30


class Host(LanguageServer):
    """Runs the program that the request names, where the SDK's own server runs a function it was given."""

    def Run(self, request, context):
        """Point at the project's program, then let the SDK do the rest."""
        folder = Path(request.info.program_directory or request.pwd)
        entry = folder / (request.info.entry_point or ".") / "__main__.py"
        os.chdir(folder)
        sys.path[:] = [str(folder), str(ROOT), *(p for p in sys.path if p not in (str(folder), str(ROOT)))]
        self.program = lambda: runpy.run_path(str(entry), run_name="__main__")
        return super().Run(request, context)


def main() -> None:
    """Serve until the engine is gone."""
    engine = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != engine:
        sys.exit(0)
    # Ctrl-C reaches the whole process group; the engine decides what it means and ends us when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = [("grpc.max_receive_message_length", ONE_GIB), ("grpc.max_send_message_length", ONE_GIB)]
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=limits)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(lambda: None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
