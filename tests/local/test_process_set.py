"""The faults that a `ProcessSet` must survive."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2

from components.local.provider.lifecycle import ResourceError
from components.local.provider.ports import is_free
from components.local.provider.supervisor import Supervisor
from components.local.provider.values import Properties
from tests.local.plugin import Plugin, running_plugin
from tests.local.samples import (
    HERE,
    PROCESS_SET,
    answers,
    failure,
    pid_at,
    process_set,
    wait_until,
)
from tests.ports import free_port
from tests.waiting import HANG_SECONDS


def test_a_changed_command_replaces_each_process_and_only_after_the_one_before_answers(
    plugin: Plugin,
) -> None:
    port = free_port(2)
    inputs = process_set(port)
    _, state = plugin.create(PROCESS_SET, inputs)
    before = [pid_at(port), pid_at(port + 1)]
    gate = plugin.root / "gate"
    changed = process_set(port, command=[*inputs["command"], str(gate)], readySeconds=2)
    with pytest.raises(grpc.RpcError, match="web-0 never became ready"):
        plugin.update(PROCESS_SET, state, changed)
    assert pid_at(port + 1) == before[1], "the second process was touched although the first never answered"
    assert pid_at(port) != before[0]
    assert plugin.read(PROCESS_SET, "it", state)[1] == state, "the old definition is back"
    gate.touch()
    plugin.update(PROCESS_SET, state, {**changed, "readySeconds": 30})
    assert pid_at(port + 1) != before[1]


def test_a_process_that_never_becomes_ready_is_named_with_its_log_and_leaves_nothing(
    plugin: Plugin,
) -> None:
    port = free_port(2)
    inputs = process_set(
        port,
        command=[sys.executable, str(HERE / "answering.py"), "{port}", "/nonexistent"],
    )
    with pytest.raises(grpc.RpcError) as error:
        plugin.create(PROCESS_SET, {**inputs, "readySeconds": 2})
    text = str(error.value.details())
    assert "region-x/web-0 never became ready" in text
    assert "no answer within 2 s" in text
    assert f"listening on {port}" in text
    named = plugin.root / ".skerry/failed/region-x-web-0.log"
    assert str(named.relative_to(plugin.root)) in text
    assert f"listening on {port}" in named.read_text()
    assert is_free(port)
    assert not (plugin.root / ".skerry" / "run" / "region-x").exists()


def test_a_process_that_refuses_its_input_is_not_started_again_and_waited_for(
    plugin: Plugin,
) -> None:
    script = "import sys,time; time.sleep(0.5); print('digest differs'); sys.exit(3)"
    inputs = process_set(free_port(2), command=[sys.executable, "-c", script], readySeconds=HANG_SECONDS)
    with pytest.raises(grpc.RpcError, match=r"it ended with status \d(?s:.*)digest differs"):
        plugin.create(PROCESS_SET, inputs)


def test_a_killed_process_is_started_again_and_needs_no_change(plugin: Plugin) -> None:
    inputs = process_set(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    killed = pid_at(inputs["port"])
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: answers(inputs["port"]) and pid_at(inputs["port"]) != killed)
    assert plugin.read(PROCESS_SET, identity, state) == (identity, state)


def test_processes_die_with_their_supervisor_and_an_update_brings_all_back(
    plugin: Plugin,
) -> None:
    inputs = process_set(free_port(2))
    identity, state = plugin.create(PROCESS_SET, inputs)
    pids = [pid_at(inputs["port"]), pid_at(inputs["port"] + 1)]
    supervisor = int((plugin.root / ".skerry/run/region-x/supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    assert wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    _, seen = plugin.read(PROCESS_SET, identity, state)
    assert seen["running"] == {}
    assert plugin.update(PROCESS_SET, seen, inputs) == state
    assert answers(inputs["port"])
    assert answers(inputs["port"] + 1)


def test_the_state_holds_no_process_id(plugin: Plugin) -> None:
    inputs = process_set(free_port(2))
    _, state = plugin.create(PROCESS_SET, inputs)
    assert str(pid_at(inputs["port"])) not in json.dumps({**state, "port": 0, "command": []})


def test_a_folder_as_deep_as_a_socket_s_path_may_not_be_still_works(
    tmp_path: Path,
) -> None:
    root = tmp_path / ("d" * 100) / ("e" * 100)
    root.mkdir(parents=True)
    with running_plugin(root) as plugin:
        inputs = process_set(free_port(2))
        identity, state = plugin.create(PROCESS_SET, inputs)
        assert answers(inputs["port"])
        plugin.delete(PROCESS_SET, identity, state)
        assert not answers(inputs["port"])


def test_processes_inherit_no_credentials(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-value")
    with running_plugin(plugin.root) as caller_with_secret:
        inputs = process_set(free_port(2))
        identity, state = caller_with_secret.create(PROCESS_SET, inputs)
        environment = Path(f"/proc/{pid_at(inputs['port'])}/environ").read_text()
        caller_with_secret.delete(PROCESS_SET, identity, state)
    assert "hidden-value" not in environment
    assert "INDEX=0" in environment


def test_a_provider_killed_while_it_stops_a_process_hinders_no_later_update(tmp_path: Path) -> None:
    inputs = process_set(free_port(), replicas=1, environment={"DEAF": "1"})
    changed = {**inputs, "environment": {"DEAF": "1", "MORE": "1"}}
    supervisor = Supervisor(tmp_path / ".skerry" / "run" / "region-x", tmp_path)
    try:
        with running_plugin(tmp_path) as killed:
            _, state = killed.create(PROCESS_SET, inputs)
            # Kept, for a call that nobody holds is cancelled.
            call = killed.begin_update(PROCESS_SET, state, killed.check(PROCESS_SET, changed, state).inputs)
            assert wait_until(lambda: supervisor.statuses()["web-0"].state == "STOPPING")
            assert not call.done()
            killed.process.kill()
            killed.process.wait()
        with running_plugin(tmp_path) as plugin:
            old = psutil.Process(pid_at(inputs["port"]))
            updated = plugin.update(PROCESS_SET, state, changed)
            assert plugin.read(PROCESS_SET, "it", updated)[1] == updated
            assert not old.is_running()
            plugin.delete(PROCESS_SET, "it", updated)
            assert not supervisor.folder.exists()
    finally:
        supervisor.shut_down()


def test_a_supervisor_that_hangs_is_named_with_its_remedy(plugin: Plugin) -> None:
    plugin.create(PROCESS_SET, process_set(free_port(), replicas=1, stopSeconds=1))
    supervisor = Supervisor(plugin.root / ".skerry" / "run" / "region-x", plugin.root, seconds=0.5)
    pid = supervisor.control.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        for operation in (supervisor.statuses, lambda: supervisor.stop("web-0"), supervisor.shut_down):
            with pytest.raises(ResourceError) as error:
                operation()
            assert f"{supervisor.folder} (pid {pid}) did not answer" in str(error.value)
            assert f"kill -CONT {pid}" in str(error.value)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: "web-0" in supervisor.revisions())


def test_an_interrupted_update_says_that_what_ran_before_was_put_back(plugin: Plugin) -> None:
    inputs = process_set(free_port(), replicas=1)
    _, state = plugin.create(PROCESS_SET, inputs)
    call = begin_update_that_never_gets_ready(plugin, state, inputs, seconds=600)
    plugin.stub.Cancel(empty_pb2.Empty())
    text = failure(call)
    assert "web-0: interrupted before it was ready" in text
    assert "web-0 was put back as it was before" in text
    assert "stopped" not in text
    assert plugin.read(PROCESS_SET, "it", state)[1] == state


def test_a_failure_to_put_back_does_not_hide_the_first_failure(plugin: Plugin) -> None:
    inputs = process_set(free_port(), replicas=1)
    _, state = plugin.create(PROCESS_SET, inputs)
    call = begin_update_that_never_gets_ready(plugin, state, inputs, seconds=5)
    # With this in its folder supervisord refuses to read its configuration again.
    (plugin.root / ".skerry/run/region-x/programs/broken.conf").write_text("[program:broken]\nnumprocs = x\n")
    text = failure(call)
    assert "web-0 never became ready" in text
    assert "web-0 could not be put back: The supervisor in" in text


def begin_update_that_never_gets_ready(
    plugin: Plugin, state: Properties, inputs: Properties, seconds: int
) -> Any:
    """An update to a program that runs and does not answer; returns once it runs."""
    changed = {**inputs, "command": [*inputs["command"], "/nonexistent"], "readySeconds": seconds}
    call = plugin.begin_update(PROCESS_SET, state, plugin.check(PROCESS_SET, changed, state).inputs)
    supervisor = Supervisor(plugin.root / ".skerry" / "run" / "region-x", plugin.root)
    old = state["running"]["web-0"]
    assert wait_until(lambda: supervisor.revisions().get("web-0", old) != old)
    return call
