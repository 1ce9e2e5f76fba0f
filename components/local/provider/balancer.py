"""Tells an Envoy of this machine which processes of a set stand, and waits until it has taken that in."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.envoy.endpoints import assignment
from components.local.provider.file import replace_file

HOST = "127.0.0.1"
TAKEN_IN_SECONDS = 15
"""After which a proxy that has not taken a change in is not waited for any longer: its health checks follow."""
UNCHECKED = ("failed_active_health_check", "pending_active_hc")


@dataclass(frozen=True)
class Balancer:
    """The proxy in front of a set of processes."""

    root: Path
    file: str
    """Endpoints of the set's cluster, relative to the project."""
    cluster: str
    admin: str
    """Administration socket of the proxy, relative to the project."""

    def publish(self, ports: Iterable[int]) -> None:
        """Makes these ports the members of the cluster, and waits until the proxy has them and finds them healthy."""
        wanted = set(ports)
        replace_file(self.root / self.file, assignment(self.cluster, HOST, wanted))
        deadline = time.monotonic() + TAKEN_IN_SECONDS
        while time.monotonic() < deadline:
            members = self._members()
            if members is None or (members.keys() == wanted and all(members.values())):
                return
            time.sleep(0.1)

    def is_published(self, ports: Iterable[int]) -> bool:
        """Whether the file says so."""
        try:
            return (self.root / self.file).read_text() == assignment(self.cluster, HOST, ports)
        except FileNotFoundError:
            return False

    def has_file(self) -> bool:
        """Whether anything was ever published and not forgotten."""
        return (self.root / self.file).exists()

    def forget(self) -> None:
        """Removes the file."""
        (self.root / self.file).unlink(missing_ok=True)

    def _members(self) -> dict[int, bool] | None:
        """Port -> whether it is healthy, of the cluster as the proxy has it; None where no proxy has the cluster."""
        try:
            directory = os.open((self.root / self.admin).parent, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        try:
            # A socket's path may hold 107 bytes; through a descriptor of the folder it is always short.
            connection = _UnixConnection(f"/proc/self/fd/{directory}/{Path(self.admin).name}")
            connection.request("GET", "/clusters?format=json")
            statuses: Any = json.loads(connection.getresponse().read()).get("cluster_statuses", [])
            connection.close()
        except (OSError, ValueError, http.client.HTTPException):
            return None  # it does not run; it reads the file when it starts
        finally:
            os.close(directory)
        for cluster in statuses:
            if cluster["name"] == self.cluster:
                return {
                    host["address"]["socket_address"]["port_value"]: not any(
                        host.get("health_status", {}).get(flag) for flag in UNCHECKED
                    )
                    for host in cluster.get("host_statuses", [])
                }
        return None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TAKEN_IN_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
