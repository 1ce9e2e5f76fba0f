"""What each supervisor looks after: its own programs that hang, and other supervisors that died."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from components.local.provider.programs import Answer
from components.local.provider.supervisor import Supervisor
from components.local.provider.watch import FAILURES, Seen
from tests.local.plugin import Plugin
from tests.local.samples import PROCESS_SET, answers, pid_at, process_set, wait_until
from tests.ports import free_port


def supervisor_pid(plugin: Plugin, name: str) -> int:
    return int((plugin.root / ".skerry/run" / name / "supervisord.pid").read_text())


def test_a_process_that_hangs_is_ended_and_started_again_without_anybody_s_help(plugin: Plugin) -> None:
    inputs = process_set(free_port(2))
    plugin.create(PROCESS_SET, inputs)
    hung, other = pid_at(inputs["port"]), pid_at(inputs["port"] + 1)
    os.kill(hung, signal.SIGSTOP)
    assert wait_until(lambda: not psutil.pid_exists(hung))
    assert wait_until(lambda: answers(inputs["port"]))
    assert pid_at(inputs["port"] + 1) == other


def test_a_dead_supervisor_comes_back_with_its_programs_while_another_one_lives(plugin: Plugin) -> None:
    first, second = (process_set(free_port(), replicas=1, supervisor=name) for name in ("global", "region-x"))
    for inputs in (first, second):
        plugin.create(PROCESS_SET, inputs)
    for name, inputs in (("global", first), ("region-x", second)):
        killed = supervisor_pid(plugin, name)
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda name=name, killed=killed: supervisor_pid(plugin, name) != killed)
        assert wait_until(lambda inputs=inputs: answers(inputs["port"]))


def test_a_supervisor_that_was_ended_on_purpose_is_not_started_again(plugin: Plugin) -> None:
    staying = process_set(free_port(), replicas=1, supervisor="global")
    plugin.create(PROCESS_SET, staying)
    going = process_set(free_port(), replicas=1)
    identity, state = plugin.create(PROCESS_SET, going)
    plugin.delete(PROCESS_SET, identity, state)
    folder = plugin.root / ".skerry/run/region-x"
    # A whole round of the other's watch: it ends a program that hangs in its third.
    hung = pid_at(staying["port"])
    os.kill(hung, signal.SIGSTOP)
    assert wait_until(lambda: not psutil.pid_exists(hung))
    assert not folder.exists()


def test_nothing_of_a_watch_outlives_its_supervisor(plugin: Plugin) -> None:
    plugin.create(PROCESS_SET, process_set(free_port(), replicas=1))
    family = psutil.Process(supervisor_pid(plugin, "region-x")).children(recursive=True)
    assert any("components.local.provider.watch" in process.cmdline() for process in family)
    Supervisor(plugin.root / ".skerry/run/region-x", plugin.root).shut_down()
    assert wait_until(lambda: not any(process.is_running() for process in family))


def test_a_process_that_starts_or_ends_does_not_hang() -> None:
    starting, ending, stopped = Seen(1), Seen(2, answered=True), Seen(3)
    for _ in range(FAILURES + 1):
        assert not starting.note(Answer.NONE, stopped=False)
        assert not ending.note(Answer.REFUSED, stopped=False)
    assert [stopped.note(Answer.NONE, stopped=True) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [
        True
    ]


def test_one_answer_between_failures_counts_from_the_beginning() -> None:
    seen = Seen(1, answered=True)
    for _ in range(FAILURES - 1):
        seen.note(Answer.NONE, stopped=False)
    assert not seen.note(Answer.NOT_READY, stopped=False)
    assert not seen.note(Answer.NONE, stopped=False)


def test_the_watch_s_log_says_what_it_did(plugin: Plugin) -> None:
    inputs = process_set(free_port(), replicas=1)
    plugin.create(PROCESS_SET, inputs)
    hung = pid_at(inputs["port"])
    os.kill(hung, signal.SIGSTOP)
    log = Path(plugin.root / ".skerry/run/region-x/logs/_watch.log")
    assert wait_until(lambda: log.exists() and f"web-0 (pid {hung}) no longer answers" in log.read_text())
