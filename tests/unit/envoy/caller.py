"""Callers of a proxy: many at once, on connections that are kept, or with a body that they do not finish."""

from __future__ import annotations

import http.client
import json
import select
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

GENEROUS_SECONDS = 60
PATH = "/v1/completions"


@dataclass(frozen=True)
class Answer:
    """What came back. `whole` is false where the connection ended before the answer."""

    status: int
    headers: dict[str, str]
    text: str
    whole: bool = True

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer in the API's format."""
        assert self.headers.get("content-type") == "application/json", self
        return json.loads(self.text)["error"]


class Caller:
    """One connection, kept as long as the other side keeps it."""

    def __init__(self, port: int, patience: float = GENEROUS_SECONDS) -> None:
        """patience: seconds without a byte of an answer, after which TimeoutError is raised."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)

    def ask(self, body: object = None, path: str = PATH, method: str = "", **headers: str) -> Answer:
        """A POST of a body as JSON, or as it is where it is bytes; a GET without one."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._connection.request(method or ("GET" if data is None else "POST"), path, data, named)
        answer = self._connection.getresponse()
        told = {key.lower(): value for key, value in answer.getheaders()}
        try:
            return Answer(answer.status, told, answer.read().decode())
        except (http.client.IncompleteRead, ConnectionError) as cut:
            return Answer(answer.status, told, str(cut), whole=False)

    @property
    def is_closed(self) -> bool:
        """Whether the other side has ended the connection."""
        found = self._connection.sock
        return found is None or bool(select.select([found], [], [], 0)[0])

    def close(self) -> None:
        self._connection.close()


def ask_once(
    port: int,
    body: object = None,
    path: str = PATH,
    method: str = "",
    patience: float = GENEROUS_SECONDS,
    **headers: str,
) -> Answer:
    """An answer on a connection of its own. patience: seconds without a byte of it."""
    caller = Caller(port, patience)
    try:
        return caller.ask(body, path, method, **headers)
    finally:
        caller.close()


def ask_at_once(port: int, bodies: Iterable[object]) -> list[Answer]:
    """An answer to each body, all asked at the same time on connections of their own."""
    asked = list(bodies)
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda body: ask_once(port, body), asked))


def unfinished(stack: ExitStack, port: int, count: int, sent: int, length: int) -> list[socket.socket]:
    """Connections that each sent `sent` bytes of a body of `length`, as far as the other side took them."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()
    start = b'{"model": "coder", "prompt": "'
    made: list[socket.socket] = []
    for _ in range(count):
        one = stack.enter_context(socket.create_connection(("127.0.0.1", port), GENEROUS_SECONDS))
        with suppress(ConnectionError):  # refused before all of it was sent
            one.sendall(head + start + b"x" * (sent - len(start)))
        made.append(one)
    return made


def raw(port: int, text: bytes) -> bytes:
    """What is answered to bytes that need not be HTTP."""
    with socket.create_connection(("127.0.0.1", port), GENEROUS_SECONDS) as connection:
        connection.sendall(text)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def end_at_once(port: int, count: int, body: object) -> list[str]:
    """Statuses of requests whose last bytes are sent one right after the other: a proxy sees them as one burst."""
    data = json.dumps(body).encode()
    length = f"content-length: {len(data)}\r\nconnection: close\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{length}".encode()
    with ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), GENEROUS_SECONDS))
            for _ in range(count)
        ]
        for one in made:
            one.sendall(head + data[:-1])
        for one in made:
            one.sendall(data[-1:])
        answers = [b"".join(iter(partial(one.recv, 65536), b"")) for one in made]
    return [answer.split(b" ", 2)[1].decode() if answer else "none" for answer in answers]
