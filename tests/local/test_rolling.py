"""A set behind a balancer: a replica's successor answers before the replica stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2

from components.local.provider.supervisor import Supervisor
from tests.local.plugin import Plugin, running_plugin
from tests.local.samples import HERE, PROCESS_SET, answers, failure, pid_at, process_set, wait_until
from tests.ports import free_port

FILE = ".skerry/etc/region-x/endpoints-web.json"
BALANCER = {"file": FILE, "cluster": "web", "admin": ".skerry/run/region-x/envoy-admin.sock"}


def balanced(port: int, **changes: object) -> dict[str, Any]:
    return process_set(port, **{"balancer": BALANCER, "replicas": 1, **changes})


def published(plugin: Plugin) -> list[int]:
    """Ports that the balancer's file holds."""
    (cluster,) = json.loads((plugin.root / FILE).read_text())["resources"]
    assert cluster["cluster_name"] == "web"
    members = [one for part in cluster["endpoints"] for one in part["lb_endpoints"]]
    return [one["endpoint"]["address"]["socket_address"]["port_value"] for one in members]


def never(condition: Callable[[], bool], done: threading.Event, seen: list[str]) -> None:
    while not done.is_set():
        if condition():
            seen.append("seen")


def test_every_published_port_answers_at_every_moment_of_a_roll(plugin: Plugin) -> None:
    inputs = balanced(free_port(4), replicas=3)
    _, state = plugin.create(PROCESS_SET, inputs)
    before = {pid_at(port) for port in published(plugin)}
    done, refused = threading.Event(), list[str]()
    # A port may be withdrawn between the two looks, so it counts only while it is still published.
    watching = threading.Thread(
        target=never,
        args=[
            lambda: any(not answers(port) and port in published(plugin) for port in published(plugin)),
            done,
            refused,
        ],
    )
    watching.start()
    plugin.update(PROCESS_SET, state, {**inputs, "environment": {"INDEX": "{index}", "MORE": "1"}})
    done.set()
    watching.join()
    assert refused == []
    after = {pid_at(port) for port in published(plugin)}
    assert len(after) == 3 and not before & after
    assert not any(psutil.pid_exists(pid) for pid in before)


def test_a_successor_that_never_answers_leaves_the_one_before_untouched_and_published(plugin: Plugin) -> None:
    inputs = balanced(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    (port,), pid = published(plugin), pid_at(inputs["port"])
    broken = {**inputs, "command": [*inputs["command"], "/nonexistent"], "readySeconds": 2}
    with pytest.raises(grpc.RpcError) as error:
        plugin.update(PROCESS_SET, state, broken)
    assert "never became ready" in str(error.value.details())
    assert "web-0 answers as it did before" in str(error.value.details())
    assert (published(plugin), pid_at(port)) == ([port], pid)
    assert plugin.read(PROCESS_SET, identity, state) == (identity, state)


def test_a_failure_at_the_second_replica_puts_the_first_back(plugin: Plugin) -> None:
    inputs = balanced(free_port(3), replicas=2)
    identity, state = plugin.create(PROCESS_SET, inputs)
    gate = plugin.root / "gate-0"
    gate.touch()
    # The second waits for a file of its own that never comes.
    changed = {
        **inputs,
        "command": [sys.executable, str(HERE / "answering.py"), "{port}", str(plugin.root / "gate-{index}")],
        "readySeconds": 3,
    }
    with pytest.raises(grpc.RpcError) as error:
        plugin.update(PROCESS_SET, state, changed)
    assert "web-1 answers as it did before" in str(error.value.details())
    assert "web-0 was put back as it was before" in str(error.value.details())
    assert len(published(plugin)) == 2 and all(answers(port) for port in published(plugin))
    assert plugin.read(PROCESS_SET, identity, state) == (identity, state)


def test_a_first_set_that_never_answers_leaves_no_endpoints_behind(plugin: Plugin) -> None:
    command = [sys.executable, str(HERE / "answering.py"), "{port}", "/nonexistent"]
    with pytest.raises(grpc.RpcError) as error:
        plugin.create(PROCESS_SET, balanced(free_port(2), command=command, readySeconds=2))
    assert "web-0 was stopped again" in str(error.value.details())
    assert not (plugin.root / FILE).exists()


def test_a_failed_start_of_a_set_that_had_no_replicas_leaves_its_endpoints_empty(plugin: Plugin) -> None:
    identity, state = plugin.create(PROCESS_SET, balanced(free_port(4), replicas=0))
    command = [sys.executable, str(HERE / "answering.py"), "{port}", "/nonexistent"]
    with pytest.raises(grpc.RpcError):
        plugin.update(PROCESS_SET, state, {**state, "replicas": 1, "command": command, "readySeconds": 2})
    assert published(plugin) == []
    assert plugin.read(PROCESS_SET, identity, state) == (identity, state)


def test_fewer_replicas_are_withdrawn_before_they_stop_and_none_leave_no_member(plugin: Plugin) -> None:
    inputs = balanced(free_port(4), replicas=3)
    identity, state = plugin.create(PROCESS_SET, inputs)
    assert len(published(plugin)) == 3
    state = plugin.update(PROCESS_SET, state, {**inputs, "replicas": 1})
    assert len(published(plugin)) == 1 and answers(published(plugin)[0])
    state = plugin.update(PROCESS_SET, state, {**inputs, "replicas": 0})
    assert published(plugin) == []
    plugin.delete(PROCESS_SET, identity, state)
    assert not (plugin.root / FILE).exists()


def test_an_update_killed_between_successor_and_stop_is_completed_by_the_next(plugin: Plugin) -> None:
    inputs = balanced(free_port(2), environment={"DEAF": "1"}, stopSeconds=60)
    changed = {**inputs, "environment": {"DEAF": "1", "MORE": "1"}}
    supervisor = Supervisor(plugin.root / ".skerry" / "run" / "region-x", plugin.root)
    with running_plugin(plugin.root) as killed:
        _, state = killed.create(PROCESS_SET, inputs)
        call = killed.begin_update(PROCESS_SET, state, killed.check(PROCESS_SET, changed, state).inputs)
        assert wait_until(lambda: supervisor.statuses()["web-0"].state == "STOPPING")
        assert not call.done()
        killed.process.kill()
        killed.process.wait()
    successor = pid_at(published(plugin)[0])
    os.kill(supervisor.statuses()["web-0"].pid, signal.SIGKILL)
    updated = plugin.update(PROCESS_SET, state, changed)
    assert plugin.read(PROCESS_SET, "it", updated)[1] == updated
    assert pid_at(published(plugin)[0]) == successor, "what stood already was kept"
    assert set(supervisor.definitions()) == {"web-0b"}


def test_a_hung_replica_is_not_running_to_a_refresh_and_the_next_update_replaces_it(plugin: Plugin) -> None:
    inputs = balanced(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    (port,) = published(plugin)
    hung = pid_at(port)
    supervisor = int((plugin.root / ".skerry/run/region-x/supervisord.pid").read_text())
    family = psutil.Process(supervisor).children()
    watch = next(one for one in family if "components.local.provider.watch" in one.cmdline())
    watch.suspend()  # it would end the replica first
    os.kill(hung, signal.SIGSTOP)
    _, seen = plugin.read(PROCESS_SET, identity, state)
    assert seen["running"] == {}
    assert plugin.update(PROCESS_SET, seen, inputs) == state
    assert not psutil.pid_exists(hung)
    assert pid_at(published(plugin)[0]) != hung
    watch.resume()


def test_a_lost_endpoints_file_is_no_intact_set(plugin: Plugin) -> None:
    inputs = balanced(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    (plugin.root / FILE).unlink()
    _, seen = plugin.read(PROCESS_SET, identity, state)
    assert seen["running"] == {}
    plugin.update(PROCESS_SET, seen, inputs)
    assert len(published(plugin)) == 1


def test_a_port_that_is_not_free_is_refused_for_the_spare_one_too(plugin: Plugin) -> None:
    port = free_port(2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        failures = plugin.check(PROCESS_SET, balanced(port)).failures
    assert [failure.property for failure in failures] == ["port"]


def test_an_interrupted_roll_says_that_the_one_before_answers(plugin: Plugin) -> None:
    inputs = balanced(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    changed = {**inputs, "command": [*inputs["command"], "/nonexistent"], "readySeconds": 600}
    call = plugin.begin_update(PROCESS_SET, state, plugin.check(PROCESS_SET, changed, state).inputs)
    supervisor = Supervisor(plugin.root / ".skerry" / "run" / "region-x", plugin.root)
    assert wait_until(lambda: "web-0b" in supervisor.revisions())
    plugin.stub.Cancel(empty_pb2.Empty())
    assert "web-0 answers as it did before" in failure(call)
    assert plugin.read(PROCESS_SET, identity, state) == (identity, state)
