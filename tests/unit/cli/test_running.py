"""What is shown of the stack of this machine is what answers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cli import running
from tests.ports import free_port


def state(port: int, names: list[str]) -> list[dict[str, Any]]:
    outputs = {
        "supervisor": "region-east",
        "program": "coder",
        "command": ["true"],
        "environment": {},
        "replicas": len(names),
        "port": port,
        "readyPath": "/",
        "readySeconds": 1,
        "stopSeconds": 1,
        "running": dict.fromkeys(names, "revision"),
    }
    return [
        {"urn": "a", "type": "skerry-local:index:File", "outputs": {"path": "x"}},
        {"urn": "b", "type": running.PROCESS_SET, "outputs": outputs},
    ]


def test_processes_without_a_supervisor_are_not_shown_as_running(tmp_path: Path) -> None:
    said = state(free_port(2), ["coder-0", "coder-1"])
    now = running.as_it_is(said, tmp_path)
    assert now[1]["outputs"]["running"] == {}
    assert now[0] == said[0]
    assert running.missing(said, now) == ["region-east/coder-0", "region-east/coder-1"]


def test_somebody_else_s_answer_on_the_port_is_no_process_of_the_stack(tmp_path: Path) -> None:
    class Impostor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Impostor)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        said = state(server.server_address[1], ["coder-0"])
        assert running.missing(said, running.as_it_is(said, tmp_path)) == ["region-east/coder-0"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_summary_says_of_each_program_how_many_of_its_processes_answer() -> None:
    assert running.summary(state(9000, ["coder-0"])) == ["region-east answers: coder 1 of 1"]
    silent = state(9000, ["coder-0", "coder-1"])
    silent[1]["outputs"]["running"] = {"coder-0": "revision"}
    assert running.summary(silent) == ["region-east answers: coder 1 of 2"]
