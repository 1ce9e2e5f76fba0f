"""What a `Task` depends on, what it leaves, and the faults that it must survive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from components.local.provider.values import Properties
from tests.local.plugin import Plugin, running_plugin
from tests.local.samples import (
    TASK,
    task,
    wait_until,
)
from workloads.manifest import write_manifest


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


def test_a_project_in_a_folder_with_a_space_and_an_umlaut_works(tmp_path: Path) -> None:
    root = tmp_path / "my pröject"
    root.mkdir()
    with running_plugin(root) as plugin:
        identity, state = plugin.create(TASK, task(root))
        made = root / ".skerry" / "tiers" / "x" / identity
        assert state["output"] == made.as_uri()
        assert (made / "result.json").exists()
        assert plugin.read(TASK, identity, state) == (identity, state)
        write_manifest(made)  # only what was published is transferred
        copy = root / "the cöpy"
        transfer = [sys.executable, "-m", "workloads.transfer"]
        subprocess.run([*transfer, "--source", state["output"], "--output", copy.as_uri()], check=True)
        assert (copy / "result.json").read_text() == (made / "result.json").read_text()
        plugin.delete(TASK, identity, state)
        assert not made.exists()
        assert plugin.read(TASK, identity, state)[0] == ""
    assert [path.name for path in root.iterdir()] == ["the cöpy"]
