"""Object stores that really run: moto's S3 server and gcp-storage-emulator, each a process on a free loopback port.

    python -m tests.workloads.object_stores s3|gs

prints its port and serves until its stdin ends, so it never outlives a test run that was killed.
"""

import http.client
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fsspec.core import url_to_fs

from tests.workloads.permissions import Check, Judge, Request
from tests.workloads.training.runs import ROOT

LOOPBACK = "127.0.0.1"
DENIED = b"<Error><Code>AccessDenied</Code></Error>"
ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
NOBODY = {  # neither server asks who it is; the clients would otherwise look for the machine's own identity
    "s3": {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    },
    "gs": {
        "NO_GCE_CHECK": "true",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks another service for a bucket's kind
    },
}


@dataclass
class ObjectStore:
    """One running server; `environment` is all that a program needs to reach it."""

    scheme: str
    process: subprocess.Popen
    port: int
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {ENDPOINTS[self.scheme]: f"http://{LOOPBACK}:{self.port}", **NOBODY[self.scheme]}

    def stop(self) -> None:
        """The server is gone: connections are refused from now on."""
        self.process.kill()
        self.process.communicate()


def start(scheme: str, port: int = 0) -> ObjectStore:
    """A server of its own, on a free port or on that of one that was stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workloads.object_stores", scheme, str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    return ObjectStore(scheme, process, int(process.stdout.readline()))


def new_bucket(scheme: str) -> str:
    """The address of a bucket that nobody else uses, on the store that the environment names."""
    uri = f"{scheme}://test-{uuid.uuid4().hex[:12]}"
    files(uri).mkdir(uri.partition("://")[2])
    return uri


def files(uri: str) -> Any:
    """The file system behind an address, which has seen nothing yet."""
    return url_to_fs(uri, skip_instance_cache=True, use_listings_cache=False)[0]


class Front(ThreadingHTTPServer):
    """Another way to a store: it denies what `denies` says of a method and a path, and what a judge refuses; the rest
    is forwarded. `refused` keeps what the judge refused."""

    def __init__(
        self,
        store: ObjectStore,
        denies: Callable[[str, str], bool] = lambda method, path: False,
        judge: Judge | None = None,
    ) -> None:
        super().__init__((LOOPBACK, 0), _Forward)
        self.store, self.denies, self.judge = store, denies, judge
        self.refused: list[Check] = []
        self.forwarded = 0
        self.environment = {
            **store.environment,
            ENDPOINTS[store.scheme]: f"http://{LOOPBACK}:{self.server_port}",
        }
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Forward(BaseHTTPRequestHandler):
    server: Front  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"  # clients wait to be told to go on before they send a body

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        named = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, named, body)
        refused = self.server.judge.refuses(request) if self.server.judge else []
        self.server.refused += refused
        if refused or self.server.denies(self.command, self.path):
            status, headers, answer = 403, [], DENIED
        else:
            there = http.client.HTTPConnection(LOOPBACK, self.server.store.port)
            passed = {name: value for name, value in self.headers.items() if name != "Expect"}
            there.request(self.command, self.path, body, passed)
            response = there.getresponse()
            status, headers, answer = response.status, response.getheaders(), response.read()
            there.close()
            self.server.forwarded += 1
            if status == 404 and self.server.judge and self.server.judge.hides_missing(request):
                status, headers, answer = 403, [], DENIED
        self.send_response_only(status)
        for name, value in headers:
            if name not in ("Transfer-Encoding", "Connection", "Content-Length"):
                self.send_header(name, value)
        length = dict(headers).get("Content-Length", len(answer)) if self.command == "HEAD" else len(answer)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815  the library's names

    def log_message(self, format: str, *given: Any) -> None:
        pass


def serve(scheme: str, port: int) -> None:
    if scheme == "s3":
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(LOOPBACK, port, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
    else:
        from gcp_storage_emulator.server import create_server

        server = create_server(LOOPBACK, port, in_memory=True)
        server.start()
        assert server._api._httpd
        port = server._api._httpd.server_port
    print(port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
