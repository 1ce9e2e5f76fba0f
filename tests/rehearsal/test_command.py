"""`./skerry rehearse` as a user runs it: what it prints, what it leaves, and how it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.rehearsal.caller import CREDENTIALS, PROJECT, Caller, faulty, make_caller, make_project
from tests.waiting import HANG_SECONDS, until
from tools import processes
from tools.rehearsal.rules import RULES

NOTHING_LEFT: tuple[list[str], dict[int, str]] = ([], {})
"""Longer than anything takes; nobody waits for it unless a process stays."""


@dataclass(frozen=True)
class Seen:
    """A rehearsal that went well, with the user's and the project's files before and after it."""

    done: subprocess.CompletedProcess[str]
    left: tuple[list[str], dict[int, str]]
    before: tuple[dict[str, bytes], dict[str, bytes]]
    after: tuple[dict[str, bytes], dict[str, bytes]]


def files(project: Path) -> dict[str, bytes]:
    found = [path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The stack whose file names a key service of a cloud and holds a secret."""
    caller = make_caller(tmp_path_factory.mktemp("seen") / "caller")
    before = (caller.own_files(), files(PROJECT))
    done = caller.rehearse(PROJECT, "small-gcp", "--refusals", "1")
    assert done.returncode == 0, done.stderr
    return Seen(done, caller.left(), before, (caller.own_files(), files(PROJECT)))


def test_the_summary_is_a_plain_table_with_an_empty_program_beside_the_stack(seen: Seen) -> None:
    heading, empty, stack = seen.done.stdout.splitlines()[:3]
    assert heading.split("  ")[0] == "stack" and heading.endswith("peak MB")
    assert empty.split()[:2] == ["empty-program", "0"] and stack.split()[:2] == ["small-gcp", "9"]
    assert len(stack.split()) == len(empty.split()) == 11, "resources, eight phases, memory"
    assert seen.done.stdout.isascii() and "\x1b" not in seen.done.stdout


def test_the_summary_says_what_was_judged_and_lists_every_rule_and_type_with_what_was_not(seen: Seen) -> None:
    found = re.search(r"JUDGED: (\d+) of 9 resources, by (\d+) of (\d+) rules", seen.done.stdout)
    assert found and 0 < int(found[1]) < 9 and 0 < int(found[2]) < int(found[3]) == len(RULES)
    assert "REFUSED ON THE WAY: 1 creations" in seen.done.stdout
    assert "No other input was compared" in seen.done.stdout
    rules, _, _ = seen.done.stdout.split("\nrule ")[1].partition("\n\n")
    told = {line.split()[0]: int(line.split()[2]) for line in rules.splitlines()[1:]}
    assert told["gcp-bucket-is-empty"] == 1 and told["aws-unused"] == 0
    assert told.keys() == {rule.name for rule in RULES}
    table, _, _ = seen.done.stdout.split("\ntype ")[1].partition("\n\n")
    denominator = [line.split() for line in table.splitlines()[1:]]
    assert sum(int(count) for _, count, _ in denominator) == 9
    assert ["pulumi:providers:gcp", "1", "0"] in denominator
    assert sum(int(judged) for _, _, judged in denominator) == int(found[1])


def test_what_the_program_warns_of_is_told_once(seen: Seen) -> None:
    assert seen.done.stdout.count("small-gcp: warning: the reader has no key") == 1


def test_a_rehearsal_leaves_no_file_and_no_process(seen: Seen) -> None:
    assert seen.left == NOTHING_LEFT


def test_the_users_login_and_the_project_stay_as_they_are(seen: Seen) -> None:
    assert seen.after == seen.before
    assert "secretsprovider" in seen.after[1]["stacks/Pulumi.small-gcp.yaml"].decode()


Failed = tuple[str, tuple[list[str], dict[int, str]], Path]


def failed(folder: Path, kind: str) -> Failed:
    """What a rehearsal of a stack with this fault tells, what it leaves, and the user's home."""
    caller = make_caller(folder / "caller")
    try:
        done = caller.rehearse(make_project(folder / "project", broken=faulty(kind)), "broken")
        assert done.returncode == 1 and done.stdout == ""
        return done.stderr, caller.left(), caller.home
    finally:
        processes.end(inside=caller.temporary)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Failed:
    """A program that declares a random tag, and a resource with an input that no stand-in gives."""
    return failed(tmp_path_factory.mktemp("changed"), "two changes")


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Failed:
    """A program that tells its environment and crashes."""
    return failed(tmp_path_factory.mktemp("crashed"), "crash")


def test_a_program_that_declares_something_else_each_time_fails_the_second_preview_by_the_resources_name(
    changed: Failed,
) -> None:
    told, left, _ = changed
    assert "skerry: broken: second preview failed." in told
    assert "aws:s3:Bucket restless update" in told and "no changes were expected" in told
    assert left == NOTHING_LEFT


def test_an_input_that_is_wired_from_an_output_that_no_row_gives_fails_the_second_preview(
    changed: Failed,
) -> None:
    told, _, _ = changed
    assert "an output that the stand-in does not give (docs/how-to/rehearse.md)" in told
    assert "aws:s3:Bucket wired update [diff: +bucket]" in told


def test_a_program_that_crashes_fails_with_its_own_error_and_leaves_nothing(
    crashed: Failed,
) -> None:
    told, left, _ = crashed
    assert "skerry: broken: preview failed." in told
    assert "KeyError: 'a bug of the program'" in told and "__main__.py" in told
    assert left == NOTHING_LEFT


def test_a_program_sees_that_it_is_rehearsed_and_no_credential_of_the_user(
    crashed: Failed,
) -> None:
    told, _, home = crashed
    visible = set(told.partition("it sees ")[2].split("'")[0].split())
    assert "SKERRY_REHEARSAL=1" in visible
    names = {entry.partition("=")[0] for entry in visible}
    assert {name for name in names if f"{name}=mine" in visible} == set()
    assert CREDENTIALS.keys() & names == {"PULUMI_CONFIG_PASSPHRASE"}, "a throw-away one"
    assert not any(str(home) in entry for entry in visible)


def test_a_destroy_that_takes_the_guard_off_a_full_bucket_fails_by_the_guards_name(tmp_path: Path) -> None:
    told, left, _ = failed(tmp_path, "loose guard")
    assert "BucketNotEmpty" in told and "rehearsal rule aws-bucket-is-empty" in told
    assert "destroy with data was refused, but what protects the objects had changed" in told
    assert "BucketPublicAccessBlock::closed" in told.partition("had changed")[2].partition("Protect it")[0]
    assert left == NOTHING_LEFT


def test_a_grant_that_may_come_before_its_identity_pool_fails_although_up_went_well(tmp_path: Path) -> None:
    told, left, _ = failed(tmp_path, "early grant")
    assert "Identity Pool does not exist (p.svc.id.goog)" in told
    assert "(rehearsal rule gcp-identity-pool-exists)" in told and "early" in told
    assert left == NOTHING_LEFT


def test_an_invoke_that_no_stand_in_knows_is_named_with_the_table_that_lacks_it(
    caller: Caller, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", curious=faulty("question"))
    done = caller.rehearse(project, "curious")
    assert done.returncode == 1
    assert "invoke 'aws:ec2/getAmi:getAmi' is not in the stand-in's table" in done.stderr
    assert "tools/rehearsal/aws.py" in done.stderr


@contextmanager
def hanging(caller: Caller, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A rehearsal in the middle of `up`, and every process below it."""
    mark = folder / "mark"
    project = make_project(folder / "project", slow=faulty("hang", mark=str(mark)))
    with caller.begin(project, "slow") as process:
        try:
            until(lambda: mark.exists() or process.poll() is not None)
            assert process.poll() is None
            below = psutil.Process(process.pid).children(recursive=True)
            words = " ".join(" ".join(child.cmdline()) for child in below)
            assert "tools.rehearsal" in words and "pulumi up" in words and "language" in words
            yield process, below
        finally:
            process.kill()


def alive(below: list[psutil.Process]) -> list[psutil.Process]:
    return [child for child in below if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_up_leaves_no_process_and_no_file(
    caller: Caller, tmp_path: Path, number: signal.Signals
) -> None:
    with hanging(caller, tmp_path) as (process, below):
        os.killpg(process.pid, number)  # as a terminal does
        process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 128 + number
        assert alive(below) == []
    assert caller.left() == NOTHING_LEFT


def test_stand_ins_engine_and_program_end_with_a_command_that_is_killed(
    caller: Caller, tmp_path: Path
) -> None:
    with hanging(caller, tmp_path) as (process, below):
        process.kill()
        until(lambda: not alive(below), lambda: f"still there: {alive(below)}")
