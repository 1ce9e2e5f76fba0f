"""Real Envoys and small HTTP servers behind them, on free ports of loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from components.contracts import HEALTH_PATH
from components.envoy import config as envoy
from components.local.layout import LOOPBACK
from components.settings.items import EndpointSettings, HealthSettings
from tests import waiting
from tests.ports import free_port
from tests.unit.envoy.replica import Replica
from workloads.serving.protocol import ApiError

ROOT = Path(__file__).resolve().parents[3]
CHECKS = (envoy.READY_PATH, HEALTH_PATH)
# Health checks notice a death only after a while, so what is answered sooner was saved by a retry.
SETTINGS = EndpointSettings(health=HealthSettings(interval_seconds=1, unhealthy_after=2, healthy_after=1))


class Backend:
    """Answers every request with its own name, and its health check as long as it lives."""

    def __init__(self, name: str, breaks_off: bool = False) -> None:
        self.name, self.requests = name, []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.answer()

            def answer(self) -> None:
                if self.path not in CHECKS:
                    backend.requests.append(self.path)
                body = backend.name.encode()
                cut = breaks_off and self.path not in CHECKS
                self.send_response(200)
                self.send_header("content-length", str(len(body) + (100 if cut else 0)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.requests: list[str]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self._alive = True
        self._thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def die(self) -> None:
        if self._alive:
            self._alive = False
            self.server.shutdown()
            self.server.server_close()
            self._thread.join()


@dataclass
class Proxy:
    """A running Envoy, started as the target starts it."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def rewrite_clusters(self, clusters: list[envoy.Json]) -> None:
        write(self.folder / "clusters.json", envoy.discovery("cluster.v3.Cluster", clusters))


@dataclass
class Bench:
    """What a test has started; all of it ends with the test."""

    stack: ExitStack
    folder: Path

    def backend(self, name: str, breaks_off: bool = False) -> Backend:
        made = Backend(name, breaks_off)
        self.stack.callback(made.die)
        return made

    def replica(self, name: str, refuses: Callable[[], ApiError] | None = None) -> Replica:
        made = Replica(name, refuses)
        self.stack.callback(made.die)
        return made

    def proxy(
        self, name: str, listeners: Callable[[int], list[envoy.Json]], clusters: list[envoy.Json]
    ) -> Proxy:
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        write(folder / "clusters.json", envoy.discovery("cluster.v3.Cluster", clusters))
        write(folder / "listeners.json", envoy.discovery("listener.v3.Listener", listeners(port)))
        # Relative paths: the length of a socket's path is limited, that of a temporary folder is not.
        start = envoy.bootstrap(name, "./listeners.json", "./clusters.json", "./admin.sock")
        return self.started(start, folder, port)

    def started(self, start: envoy.Json, folder: Path, port: int) -> Proxy:
        """An Envoy of a bootstrap that listens on a port."""
        command = [sys.executable, "-m", "components.local.run_envoy", json.dumps(start), "test"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
        self.stack.callback(kill, process)
        return Proxy(process, port, folder)

    def region(
        self, name: str, services: dict[str, list[int]], settings: EndpointSettings = SETTINGS
    ) -> Proxy:
        """An Envoy in front of services, by the ports of their replicas."""
        replicas = {service: [(LOOPBACK, port) for port in ports] for service, ports in services.items()}
        clusters = envoy.region_clusters(replicas, settings)
        names = {service: service for service in services}
        return self.proxy(
            name, lambda port: envoy.region_listeners((LOOPBACK, port), names, settings, hops=1), clusters
        )

    def balancer(
        self, ports: dict[str, int], share: dict[str, float], settings: EndpointSettings = SETTINGS
    ) -> Proxy:
        """An Envoy in front of regions, ready when it is returned."""
        regions = {region: (LOOPBACK, port) for region, port in ports.items()}
        clusters = [envoy.regions_cluster(regions, share, settings)]
        made = self.proxy(
            "global", lambda port: [envoy.global_listener((LOOPBACK, port), settings)], clusters
        )
        until(lambda: healthy(made.port), made)
        return made


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack, folder)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, path)


def ask(port: int, path: str, body: object = None) -> tuple[int, str, str]:
    """Status, content type and body of an answer. A body that is bytes goes as it is."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {} if data is None else {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=waiting.HANG_SECONDS) as answer:
            return answer.status, answer.headers.get("content-type", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("content-type", ""), error.read().decode()


def complete(port: int, model: str) -> tuple[int, str]:
    """Status and body of a completion; of a stub that is its name."""
    status, _, body = ask(port, "/v1/completions", {"model": model})
    return status, body


def error_of(answer: tuple[int, str, str]) -> dict[str, Any]:
    """The error object of an answer in JSON."""
    assert answer[1] == "application/json", answer
    return json.loads(answer[2])["error"]


def healthy(port: int) -> bool:
    try:
        return ask(port, HEALTH_PATH)[0] == 200
    except OSError:
        return False


def until(condition: Callable[[], bool], proxy: Proxy) -> None:
    """Wait; a proxy that is gone ends the wait with its log."""
    log = (proxy.folder / "log").read_text

    def come() -> bool:
        assert proxy.process.poll() is None, f"Envoy ended: {log()}"
        return condition()

    waiting.until(come, log)
