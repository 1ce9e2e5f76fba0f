"""Serves every stand-in on a port of 127.0.0.1, prints the ports as JSON, and ends with the process that started it.

Args: the id of that process, and the folder of the rehearsal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from tools.rehearsal import aws, delays, gcp, kubernetes
from tools.rehearsal.ledger import Ledger
from tools.rehearsal.server import StandIn

PACKAGES = (aws.PACKAGE, gcp.PACKAGE, kubernetes.PACKAGE, delays.PACKAGE)
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
WORKERS = 32


def main(arguments: list[str]) -> None:
    parent, ledger = int(arguments[0]), Ledger(Path(arguments[1]))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    servers, ports = [], {}
    for package in PACKAGES:
        server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS), options=UNLIMITED)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(StandIn(package, ledger), server)
        ports[package.name] = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
    print(json.dumps(ports), flush=True)
    while not stopped.wait(0.5) and os.getppid() == parent:
        pass
    for server in servers:
        server.stop(grace=None)


if __name__ == "__main__":
    main(sys.argv[1:])
