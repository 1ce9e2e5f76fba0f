"""Serves the provider on a port of 127.0.0.1, prints it, and ends when the engine that started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent import futures

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from components.local.provider.server import LocalProvider

UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
WORKERS = 32
GRACE_SECONDS = 15


def main(arguments: list[str]) -> None:
    parent = os.getppid()
    engine = next((argument for argument in arguments if not argument.startswith("-")), None)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=WORKERS), options=UNLIMITED)
    provider = LocalProvider(engine)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopped = threading.Event()
    # The engine ends its plugins by SIGINT; Ctrl-C on a terminal does not reach them.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    print(port, flush=True)
    while not stopped.wait(0.5) and os.getppid() == parent:
        pass
    provider.context.cancelled.set()  # running operations see it and end what they started
    server.stop(grace=GRACE_SECONDS).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
