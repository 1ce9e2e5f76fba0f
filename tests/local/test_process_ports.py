"""Ports of a `ProcessSet`: who may take which, and when."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import psutil
import pytest

from tests.local.plugin import Plugin
from tests.local.samples import (
    PROCESS_SET,
    answers,
    failure,
    pid_at,
    process_set,
    wait_until,
)
from tests.ports import free_port


@contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """A port that this process, which is none of the project's, listens on."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken.getsockname()[1]


class Impostor(BaseHTTPRequestHandler):
    """Answers every path with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_port_in_use_is_refused_before_anything_starts(plugin: Plugin) -> None:
    port = free_port(2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        failures = plugin.check(PROCESS_SET, process_set(port)).failures
    assert [failure.property for failure in failures] == ["port"]
    assert f"port {port + 1} on 127.0.0.1 is in use" in failures[0].reason
    assert "change target.port" in failures[0].reason
    assert not (plugin.root / ".skerry").exists()


def test_the_set_s_own_ports_are_not_in_use_by_another(plugin: Plugin) -> None:
    inputs = process_set(free_port(2))
    _, state = plugin.create(PROCESS_SET, inputs)
    assert not plugin.check(PROCESS_SET, inputs, state).failures


def test_a_move_onto_another_process_s_port_is_refused_while_the_set_runs(plugin: Plugin) -> None:
    inputs = process_set(free_port(), replicas=1)
    _, state = plugin.create(PROCESS_SET, inputs)
    with listening() as port:
        failures = plugin.check(PROCESS_SET, {**inputs, "port": port}, state).failures
    assert [failure.property for failure in failures] == ["port"]
    assert f"port {port} on 127.0.0.1 is in use by another process (pid {os.getpid()}" in failures[0].reason


def test_two_sets_swap_their_ports_in_one_run(plugin: Plugin) -> None:
    first = free_port(2)
    second = first + 1
    sets = {name: process_set(port, replicas=1, program=name) for name, port in (("a", first), ("b", second))}
    states = {name: plugin.create(PROCESS_SET, inputs)[1] for name, inputs in sets.items()}
    before = {pid_at(first), pid_at(second)}
    calls = []
    for name, port in (("a", second), ("b", first)):
        checked = plugin.check(PROCESS_SET, {**sets[name], "port": port}, states[name])
        assert not checked.failures, checked.failures
        calls.append(plugin.begin_update(PROCESS_SET, states[name], checked.inputs))
    for call in calls:
        call.result()
    assert not before & {pid_at(first), pid_at(second)}


def test_a_set_that_moves_to_the_port_of_one_that_goes_later_ends_that_one(plugin: Plugin) -> None:
    first = free_port(2)
    staying, going = (
        process_set(port, replicas=1, program=name) for name, port in (("stays", first), ("goes", first + 1))
    )
    _, state = plugin.create(PROCESS_SET, staying)
    gone, gone_state = plugin.create(PROCESS_SET, going)
    ended = pid_at(first + 1)
    moved = plugin.update(PROCESS_SET, state, {**staying, "port": first + 1})
    assert moved["port"] == first + 1
    assert pid_at(first + 1) != ended
    assert not psutil.pid_exists(ended)
    plugin.delete(PROCESS_SET, gone, gone_state)
    assert answers(first + 1)


def test_a_port_taken_after_the_check_is_waited_for_and_its_holder_named(plugin: Plugin) -> None:
    with listening() as port:
        pass
    checked = plugin.check(PROCESS_SET, process_set(port, replicas=1, readySeconds=1))
    assert not checked.failures
    with listening(port), pytest.raises(grpc.RpcError) as error:
        plugin.begin_create(PROCESS_SET, checked.inputs).result()
    text = str(error.value.details())
    assert f"port {port} on 127.0.0.1 is still in use after 1 s (pid {os.getpid()}" in text
    assert "change target.port" in text
    assert not (plugin.root / ".skerry" / "run" / "region-x").exists()


def test_another_process_s_answer_does_not_make_a_set_ready(plugin: Plugin) -> None:
    marker = plugin.root / "started"
    script = f"import time;open({str(marker)!r},'w').close();time.sleep(600)"
    port = free_port()
    inputs = process_set(port, replicas=1, command=[sys.executable, "-c", script], readySeconds=10)
    call = plugin.begin_create(PROCESS_SET, plugin.check(PROCESS_SET, inputs).inputs)
    assert wait_until(marker.exists)
    server = ThreadingHTTPServer(("127.0.0.1", port), Impostor)
    threading.Thread(target=server.serve_forever).start()
    try:
        assert f"another process listens on port {port} (pid {os.getpid()}" in failure(call)
    finally:
        server.shutdown()
        server.server_close()
