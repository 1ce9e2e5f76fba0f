"""The provider over its own protocol: every type of its schema, files, and runs that meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from pulumi.runtime.proto import provider_pb2

from components.local.provider.lifecycle import ResourceError
from components.local.provider.lock import RootLock
from components.local.provider.schema import SCHEMA
from components.local.provider.supervisor import Supervisor
from components.local.provider.values import Properties, from_struct
from tests.local.plugin import Plugin, running_plugin
from tests.local.samples import (
    FILE,
    HERE,
    PROCESS_SET,
    TASK,
    pid_at,
    process_set,
    task,
    wait_until,
)
from tests.ports import free_port


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
    assert {**mended, "seconds": 0} == {**state, "seconds": 0}  # a task's own time is that of another run
    assert plugin.read(kind, identity, mended) == (identity, mended)


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
