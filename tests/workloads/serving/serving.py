"""A real server process and how a test talks to it. Waits are for conditions, never for a time to pass."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import HANG_SECONDS, until

ROOT = Path(__file__).parents[3]
NAME = "coder"


class Running:
    """One `python -m workloads.serving.server` on a free loopback port; without `uri`, `more` says what it serves."""

    def __init__(self, uri: str, digest: str, more: Sequence[str], environment: dict[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process
        single = ["--model-uri", uri, "--model-name", NAME, "--digest", digest] if uri else []
        flags = [*single, "--port", "0", *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workloads.serving.server", *flags],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **environment},
        )
        self._client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            found = until(
                lambda: re.search(r"listening on (http://[\d.:]+)", self.log()) or self.process.poll()
            )
            assert isinstance(found, re.Match), self.log()
            self._client = httpx.Client(base_url=found[1], timeout=HANG_SECONDS)
        return self._client

    def wait_ready(self) -> "Running":
        """Return when it is ready; fails with the log when it exits instead."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log()
            return self.client.get("/v2/health/ready").status_code == 200

        until(ready)
        return self

    def exit_code(self) -> int:
        return self.process.wait(HANG_SECONDS)

    def log(self) -> str:
        """Everything it wrote to stdout and stderr so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def kill(self) -> None:
        if self._client:
            self._client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()

    def complete(self, prompt: str = "def f(", **more: Any) -> httpx.Response:
        body = {"model": NAME, "prompt": prompt, "temperature": 0, "max_tokens": 8, **more}
        return self.client.post("/v1/completions", json=body)

    def chat(self, text: str, **more: Any) -> httpx.Response:
        body = {"model": NAME, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
        return self.client.post("/v1/chat/completions", json=body)

    def stream(self, max_tokens: int, **more: Any) -> Any:
        """An open streaming answer (a context manager)."""
        body = {"model": NAME, "prompt": "x", "max_tokens": max_tokens, "stream": True, "seed": 1, **more}
        return self.client.stream("POST", "/v1/completions", json=body)

    def metric(self, sample: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels, among others; 0 when there is none."""
        return sum(
            found.value
            for family in text_string_to_metric_families(self.client.get("/metrics").text)
            for found in family.samples
            if found.name == sample and labels.items() <= found.labels.items()
        )


def events(lines: Iterator[str]) -> list[Any]:
    """The data of server-sent events; the closing [DONE] stays a string."""
    data = [line.removeprefix("data: ") for line in lines if line]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


@contextmanager
def running(artifact: dict[str, Any], *flags: str) -> Iterator[Running]:
    """A server of the artifact, ready; it is killed at the end."""
    server = Running(artifact["uri"], artifact["digest"], flags, {})
    try:
        yield server.wait_ready()
    finally:
        server.kill()


def broken_streams(server: Running, count: int, tokens: int, break_it: Callable[[], object]) -> list[str]:
    """How `count` streams ended whose server was broken while all of them came: "whole", or what the client met."""
    begun = threading.Semaphore(0)
    ends: list[str] = []

    def read() -> None:
        seen = ""
        try:
            with server.stream(tokens) as answer:
                for part in answer.iter_text():
                    if not seen:
                        begun.release()
                    seen += part
        except httpx.TransportError as error:
            ends.append("whole" if "[DONE]" in seen else type(error).__name__)
        else:
            ends.append("whole")

    readers = [threading.Thread(target=read) for _ in range(count)]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert begun.acquire(timeout=HANG_SECONDS)
    break_it()
    for reader in readers:
        reader.join()
    return ends
