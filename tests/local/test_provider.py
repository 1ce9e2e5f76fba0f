"""The provider over its own protocol: every type of its schema, and the faults that its types must survive."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from components.local.provider.lifecycle import ResourceError
from components.local.provider.lock import RootLock
from components.local.provider.ports import is_free
from components.local.provider.schema import PACKAGE, SCHEMA
from components.local.provider.supervisor import Supervisor
from components.local.provider.values import Properties, from_struct
from tests.local.plugin import Plugin, free_port, running_plugin

HERE = Path(__file__).parent
PROCESS_SET, TASK, FILE = (f"{PACKAGE}:index:{name}" for name in ("ProcessSet", "Task", "File"))


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    with running_plugin(tmp_path) as started:
        try:
            yield started
        finally:
            for folder in (tmp_path / ".skerry" / "run").glob("*"):
                Supervisor(folder, tmp_path).shut_down()


def process_set(port: int, **changes: object) -> Properties:
    return {
        "supervisor": "region-x",
        "program": "web",
        "command": [sys.executable, str(HERE / "answering.py"), "{port}"],
        "environment": {"INDEX": "{index}"},
        "replicas": 2,
        "port": port,
        "portSetting": "target.port",
        "readyPath": "/",
        "readySeconds": 30,
        "stopSeconds": 5,
        **changes,
    }


def task(root: Path, **changes: object) -> Properties:
    script = (
        "import json,os,sys,urllib.parse as u;p=u.unquote(sys.argv[1].removeprefix('file://'));os.makedirs(p);"
        "open(p+'/result.json','w').write(json.dumps({'answer':42}))"
    )
    return {
        "program": "work",
        "command": [sys.executable, "-c", script, "{output}"],
        "environment": {},
        "key": {"seed": 1},
        "sources": [],
        "outputParent": (root / ".skerry" / "tiers" / "x").as_uri(),
        "result": "result.json",
        "timeoutSeconds": 60,
        **changes,
    }


def pid_at(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return int(answer.read())


@dataclass(frozen=True)
class Case:
    """How one type is made, changed behind the engine's back, and changed in place."""

    inputs: Callable[[Plugin], Properties]
    tamper: Callable[[Plugin, Properties], None]
    changed: Callable[[Properties], Properties]
    identity: Callable[[Plugin, Properties], object]
    """What an update in place must not touch."""


def stop_one_process(plugin: Plugin, state: Properties) -> None:
    Supervisor(plugin.root / ".skerry" / "run" / "region-x", plugin.root).stop("web-1")


def alter_output(plugin: Plugin, state: Properties) -> None:
    Path(state["output"].removeprefix("file://"), "result.json").write_text("{}")


def alter_file(plugin: Plugin, state: Properties) -> None:
    (plugin.root / state["path"]).write_text("other")


CASES = {
    PROCESS_SET: Case(
        inputs=lambda plugin: process_set(free_port(3)),
        tamper=stop_one_process,
        changed=lambda inputs: {**inputs, "replicas": 3},
        identity=lambda plugin, state: (
            pid_at(state["port"]),
            pid_at(state["port"] + 1),
        ),
    ),
    TASK: Case(
        inputs=lambda plugin: task(plugin.root),
        tamper=alter_output,
        changed=lambda inputs: {**inputs, "timeoutSeconds": 50},
        identity=lambda plugin, state: os.stat(state["output"].removeprefix("file://")).st_ino,
    ),
    FILE: Case(
        inputs=lambda plugin: {"path": ".skerry/etc/x.json", "content": "one"},
        tamper=alter_file,
        changed=lambda inputs: {**inputs, "content": "two"},
        identity=lambda plugin, state: state["path"],
    ),
}


def test_every_type_of_the_schema_has_a_case() -> None:
    assert set(CASES) == set(SCHEMA["resources"])


def test_the_schema_that_the_plugin_serves_is_the_one_it_declares(
    plugin: Plugin,
) -> None:
    served = json.loads(plugin.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
    assert served == SCHEMA


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_new_resource_reads_back_as_it_was_made_and_needs_no_change(plugin: Plugin, kind: str) -> None:
    inputs = CASES[kind].inputs(plugin)
    identity, state = plugin.create(kind, inputs)
    assert plugin.read(kind, identity, state) == (identity, state)
    assert plugin.diff(kind, state, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    assert set(SCHEMA["resources"][kind]["properties"]) == set(state)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_change_outside_the_engine_shows_in_a_refresh_and_the_next_update_mends_it(
    plugin: Plugin, kind: str
) -> None:
    case = CASES[kind]
    inputs = case.inputs(plugin)
    identity, state = plugin.create(kind, inputs)
    case.tamper(plugin, state)
    read_identity, seen = plugin.read(kind, identity, state)
    assert (read_identity, seen) != (identity, state)
    if read_identity:
        assert plugin.diff(kind, seen, inputs).changes == provider_pb2.DiffResponse.DIFF_SOME
        mended = plugin.update(kind, seen, inputs)
    else:  # gone, as far as the engine is concerned: it makes a new one
        _, mended = plugin.create(kind, inputs)
    assert mended == state
    assert plugin.read(kind, identity, mended) == (identity, state)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_an_update_in_place_keeps_what_need_not_change(plugin: Plugin, kind: str) -> None:
    case = CASES[kind]
    inputs = case.inputs(plugin)
    _, state = plugin.create(kind, inputs)
    kept = case.identity(plugin, state)
    changed = case.changed(inputs)
    difference = plugin.diff(kind, state, changed)
    assert difference.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert not difference.replaces
    updated = plugin.update(kind, state, changed)
    assert case.identity(plugin, updated) == kept
    assert plugin.diff(kind, updated, changed).changes == provider_pb2.DiffResponse.DIFF_NONE


@pytest.mark.parametrize("kind", sorted(CASES))
def test_deleting_twice_is_deleting_once_and_leaves_no_file(plugin: Plugin, kind: str) -> None:
    identity, state = plugin.create(kind, CASES[kind].inputs(plugin))
    plugin.delete(kind, identity, state)
    plugin.delete(kind, identity, state)
    assert plugin.read(kind, identity, state)[0] == "" or kind == PROCESS_SET
    assert not (plugin.root / ".skerry").exists() or not any(plugin.root.rglob(".skerry/*/*"))


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
    inputs = process_set(free_port(2), command=[sys.executable, "-c", script], readySeconds=120)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError, match="digest differs"):
        plugin.create(PROCESS_SET, inputs)
    assert time.monotonic() - began < 60


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


def test_a_task_is_done_again_only_for_what_its_result_depends_on(
    plugin: Plugin,
) -> None:
    source = plugin.root / "data"
    source.mkdir()
    (source / "a.txt").write_text("one")
    inputs = task(plugin.root, sources=["data//*.txt"])
    _, state = plugin.create(TASK, inputs)
    assert plugin.diff(TASK, state, {**inputs, "command": ["other"]}).replaces == []
    assert plugin.diff(TASK, state, {**inputs, "key": {"seed": 2}}).replaces == ["digest"]
    (source / "a.txt").write_text("two")
    assert plugin.diff(TASK, state, inputs).replaces == ["digest"]


def test_a_task_s_digest_does_not_depend_on_where_the_project_lies(
    tmp_path: Path,
) -> None:
    digests = set()
    for name in ("here", "there"):
        root = tmp_path / name
        (root / "data").mkdir(parents=True)
        (root / "data" / "a.txt").write_text("one")
        with running_plugin(root) as plugin:
            digests.add(plugin.create(TASK, task(root, sources=["data//*.txt"]))[1]["digest"])
    assert len(digests) == 1


def test_a_failing_task_shows_its_log_and_leaves_no_output(plugin: Plugin) -> None:
    script = "import os,sys;os.makedirs(sys.argv[1][7:]);print('it broke here');sys.exit(9)"
    inputs = task(plugin.root, command=[sys.executable, "-c", script, "{output}"])
    with pytest.raises(grpc.RpcError) as error:
        plugin.create(TASK, inputs)
    assert "work ended with status 9" in str(error.value.details())
    assert "it broke here" in str(error.value.details())
    assert not list((plugin.root / ".skerry" / "tiers" / "x").glob("*"))


@pytest.mark.parametrize("stop", ["cancel", "kill"])
def test_a_stopped_task_leaves_no_descendant_not_even_in_another_session(plugin: Plugin, stop: str) -> None:
    marker = plugin.root / "pids"
    script = (
        "import os,subprocess,sys,time;"
        "child=subprocess.Popen([sys.executable,'-c','import time;time.sleep(600)'],start_new_session=True);"
        # One whose parent is gone by then: only who adopts orphans can still find it.
        "orphan=subprocess.check_output(['sh','-c','setsid sleep 600 >/dev/null & echo $!'],text=True).strip();"
        f"open({str(marker)!r},'w').write(f'{{os.getpid()}} {{child.pid}} {{orphan}}\\n');time.sleep(600)"
    )
    inputs = task(plugin.root, command=[sys.executable, "-c", script])
    checked = plugin.check(TASK, inputs).inputs
    call = plugin.stub.Create.future(provider_pb2.CreateRequest(urn=plugin.urn(TASK), properties=checked))
    assert wait_until(lambda: marker.exists() and marker.read_text().endswith("\n"))
    pids = [int(pid) for pid in marker.read_text().split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    if stop == "cancel":
        plugin.stub.Cancel(empty_pb2.Empty())
        assert "interrupted" in str(call.exception())
    else:
        plugin.process.kill()
    assert wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_the_provider_ends_when_the_engine_that_started_it_is_gone(
    tmp_path: Path,
) -> None:
    script = (
        "import subprocess,sys,time;"
        "p=subprocess.Popen([sys.executable,'-m','components.local.provider'],stdout=subprocess.PIPE);"
        "p.stdout.readline();print(p.pid,flush=True);time.sleep(600)"
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parents[1],
    )
    assert engine.stdout is not None
    provider = int(engine.stdout.readline())
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert wait_until(lambda: not psutil.pid_exists(provider))


def test_a_file_outside_the_project_s_folder_is_refused(plugin: Plugin) -> None:
    for path in ("../outside", "/etc/passwd", ".skerry/../README.md"):
        failures = plugin.check(FILE, {"path": path, "content": ""}).failures
        assert [failure.property for failure in failures] == ["path"], path
        assert "below .skerry/" in failures[0].reason


def test_a_file_is_replaced_whole_so_that_an_open_reader_keeps_the_old_one(
    plugin: Plugin,
) -> None:
    inputs = {"path": ".skerry/etc/x", "content": "old"}
    _, state = plugin.create(FILE, inputs)
    with (plugin.root / inputs["path"]).open() as reader:
        plugin.update(FILE, state, {**inputs, "content": "new and longer"})
        assert reader.read() == "old"
    assert (plugin.root / inputs["path"]).read_text() == "new and longer"


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


def test_a_provider_killed_while_it_stops_a_process_hinders_no_later_update(tmp_path: Path) -> None:
    inputs = process_set(free_port(), replicas=1, environment={"DEAF": "1"})
    changed = {**inputs, "environment": {"DEAF": "1", "MORE": "1"}}
    supervisor = Supervisor(tmp_path / ".skerry" / "run" / "region-x", tmp_path)
    try:
        with running_plugin(tmp_path) as killed:
            _, state = killed.create(PROCESS_SET, inputs)
            killed.begin_update(PROCESS_SET, state, killed.check(PROCESS_SET, changed, state).inputs)
            assert wait_until(lambda: supervisor.statuses()["web-0"].state == "STOPPING")
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


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_change_waits_for_the_provider_of_an_earlier_run_and_a_preview_does_not(
    tmp_path: Path, kind: str
) -> None:
    with running_plugin(tmp_path) as earlier:
        _, state = earlier.create(FILE, {"path": ".skerry/etc/y", "content": "1"})
        with running_plugin(tmp_path) as later:
            checked = later.check(kind, CASES[kind].inputs(later)).inputs
            later.begin_create(kind, checked, preview=True).result()
            call = later.begin_create(kind, checked)
            earlier.update(FILE, state, {"path": ".skerry/etc/y", "content": "2"})
            assert not call.done()
            earlier.process.kill()
            made = call.result()
            later.delete(kind, made.id, from_struct(made.properties))


def test_a_provider_that_does_not_end_is_named_to_the_next_run(plugin: Plugin) -> None:
    plugin.create(FILE, {"path": ".skerry/etc/x", "content": "one"})
    with pytest.raises(ResourceError, match=f"pid {plugin.process.pid} still held its lock"):
        RootLock(seconds=0.2).take(plugin.root, threading.Event())


def test_a_fault_met_in_a_refresh_is_told_as_an_error_of_the_resource(plugin: Plugin) -> None:
    identity, state = plugin.create(FILE, {"path": ".skerry/etc/x", "content": "one"})
    (plugin.root / state["path"]).unlink()
    (plugin.root / state["path"]).mkdir()
    with pytest.raises(grpc.RpcError) as error:
        plugin.read(FILE, identity, state)
    text = str(error.value.details())
    assert state["path"] in text
    assert "then run `up` again" in text
    assert "Exception calling application" not in text


def test_a_project_in_a_folder_with_a_space_and_an_umlaut_works(tmp_path: Path) -> None:
    root = tmp_path / "my pröject"
    root.mkdir()
    with running_plugin(root) as plugin:
        identity, state = plugin.create(TASK, task(root))
        made = root / ".skerry" / "tiers" / "x" / identity
        assert state["output"] == made.as_uri()
        assert (made / "result.json").exists()
        assert plugin.read(TASK, identity, state) == (identity, state)
        copy = root / "the cöpy"
        transfer = [sys.executable, "-m", "components.local.transfer"]
        subprocess.run([*transfer, "--source", state["output"], "--output", copy.as_uri()], check=True)
        assert (copy / "result.json").read_text() == (made / "result.json").read_text()
        plugin.delete(TASK, identity, state)
        assert not made.exists()
        assert plugin.read(TASK, identity, state)[0] == ""
    assert [path.name for path in root.iterdir()] == ["the cöpy"]


@pytest.mark.parametrize("parent", ["uri", "relative"])
def test_a_project_that_is_moved_repeats_no_task(tmp_path: Path, parent: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "data").mkdir(parents=True)
    (old / "data" / "a.txt").write_text("one")

    def inputs(root: Path) -> Properties:
        given = task(root, sources=["data//*.txt"])
        return given if parent == "uri" else {**given, "outputParent": ".skerry/tiers/x"}

    with running_plugin(old) as plugin:
        identity, state = plugin.create(TASK, inputs(old))
        assert state["outputParent"] == ".skerry/tiers/x"
    old.rename(new)
    with running_plugin(new) as plugin:
        difference = plugin.diff(TASK, state, inputs(new))
        assert (list(difference.replaces), list(difference.diffs)) == ([], ["output"])
        moved = {**state, "output": (new / ".skerry" / "tiers" / "x" / identity).as_uri()}
        assert plugin.read(TASK, identity, state) == (identity, moved)
        assert plugin.update(TASK, state, inputs(new)) == moved
        assert plugin.diff(TASK, moved, inputs(new)).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_a_task_s_output_elsewhere_than_on_this_machine_is_refused(plugin: Plugin) -> None:
    failures = plugin.check(TASK, task(plugin.root, outputParent="s3://bucket/x")).failures
    assert [failure.property for failure in failures] == ["outputParent"]
    assert "'s3://bucket/x'" in failures[0].reason


@pytest.mark.parametrize("status", [0, 9])
def test_what_a_task_leaves_in_its_temporary_folder_is_removed(plugin: Plugin, status: int) -> None:
    seen = plugin.root / "seen"
    script = (
        "import json,os,sys,tempfile,urllib.parse as u;p=u.unquote(sys.argv[1][7:]);os.makedirs(p);"
        "open(p+'/result.json','w').write('{}');tempfile.mkdtemp();d=tempfile.gettempdir();"
        f"open({str(seen)!r},'w').write(json.dumps([d,os.stat(d).st_mode&0o777]));sys.exit({status})"
    )
    inputs = task(plugin.root, command=[sys.executable, "-c", script, "{output}"])
    if status:
        with pytest.raises(grpc.RpcError, match="ended with status 9"):
            plugin.create(TASK, inputs)
    else:
        plugin.create(TASK, inputs)
    folder, mode = json.loads(seen.read_text())
    assert folder == str(plugin.root / ".skerry" / "run" / "tasks" / "work.tmp")
    assert mode == 0o700
    assert not Path(folder).exists()


def test_a_task_that_takes_too_long_says_what_to_change(plugin: Plugin) -> None:
    inputs = task(plugin.root, command=["sleep", "600"], timeoutSeconds=1)
    with pytest.raises(grpc.RpcError, match=r"work took longer than 1 s .* fewer `steps`"):
        plugin.create(TASK, inputs)


def test_a_linked_file_counts_among_a_task_s_sources_and_a_circle_of_links_does_no_harm(
    plugin: Plugin,
) -> None:
    (plugin.root / "data").mkdir()
    target = plugin.root / "elsewhere.txt"
    target.write_text("one")
    (plugin.root / "data" / "a.txt").symlink_to(target)
    (plugin.root / "data" / "circle").symlink_to(plugin.root / "data")
    inputs = task(plugin.root, sources=["data//**/*"])
    _, state = plugin.create(TASK, inputs)
    assert plugin.diff(TASK, state, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    target.write_text("two")
    assert plugin.diff(TASK, state, inputs).replaces == ["digest"]


class Impostor(BaseHTTPRequestHandler):
    """Answers every path with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """A port that this process, which is none of the project's, listens on."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken.getsockname()[1]


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


def failure(call: Any) -> str:
    """What a call that fails tells the user."""
    with pytest.raises(grpc.RpcError) as error:
        call.result()
    return str(error.value.details())


def answers(port: int) -> bool:
    try:
        return pid_at(port) > 0
    except (OSError, urllib.error.URLError):
        return False


def wait_until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Waits generously: the claim is that it happens, not how fast."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False
