"""Replicas that a name stands for, as on a cluster: a real Envoy, a DNS server and two servers behind one name."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from components.envoy import config as envoy
from components.local.layout import LOOPBACK
from tests.ports import free_port
from tests.unit.envoy.proxies import SETTINGS, bench, complete, healthy, until

ADDRESSES = ("127.0.0.2", "127.0.0.3")
NAME = "serve-coder.skerry.svc.cluster.local"
HEADER, QUERY_TAIL = 12, 5  # bytes; the tail is the end of the name, type and class
ALL_OF_THEM = 20


class Names:
    """Answers every question for an IPv4 address with those that the name has now."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                query, caller = self.socket.recvfrom(512)
            except OSError:
                return
            self.socket.sendto(self._answer(query), caller)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(0, HEADER) + QUERY_TAIL
        wants_ipv4 = query[end - 4 : end - 2] == b"\0\1"
        found = [socket.inet_aton(address) for address in self.addresses] if wants_ipv4 else []
        head = query[:2] + b"\x81\x80\0\1" + len(found).to_bytes(2, "big") + bytes(4)
        records = [b"\xc0\x0c\0\1\0\1" + (1).to_bytes(4, "big") + b"\0\4" + address for address in found]
        return head + query[HEADER:end] + b"".join(records)


def resolver(port: int) -> envoy.Json:
    """The part of a cluster that says which DNS server it asks."""
    kind = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    server = {"socket_address": {"address": LOOPBACK, "port_value": port, "protocol": "UDP"}}
    options = {"use_tcp_for_dns_lookups": False, "no_default_search_domain": True}
    typed = {"@type": kind, "resolvers": [server], "dns_resolver_options": options}
    return {"typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": typed}}


@contextmanager
def server(address: str, port: int) -> Iterator[None]:
    """Answers everything with its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(address)))
            self.end_headers()
            self.wfile.write(address.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = ThreadingHTTPServer((address, port), Handler)
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield
    finally:
        made.shutdown()
        made.server_close()


def listeners(port: int) -> list[envoy.Json]:
    return envoy.region_listeners((LOOPBACK, port), {"coder": "coder"}, SETTINGS, hops=1)


def test_a_replica_that_its_name_has_no_more_gets_no_request_though_it_still_answers(tmp_path: Path) -> None:
    port, names = free_port(), Names(list(ADDRESSES))
    first, second = ADDRESSES
    with server(first, port), server(second, port), bench(tmp_path) as made:
        clusters = envoy.region_clusters({"coder": [(NAME, port)]}, SETTINGS)
        looked_up = [
            {**one, **resolver(names.port)} if "dns_lookup_family" in one else one for one in clusters
        ]
        proxy = made.proxy("east", listeners, looked_up)
        until(lambda: healthy(proxy.port), proxy)

        def answering() -> set[str]:
            answers = Counter(complete(proxy.port, "coder") for _ in range(ALL_OF_THEM))
            assert {status for status, _ in answers} == {200}, answers
            return {address for _, address in answers}

        until(lambda: answering() == set(ADDRESSES), proxy)
        names.addresses.remove(second)
        until(lambda: answering() == {first}, proxy)
    names.socket.close()
