"""A pod waits until its grants are effective, and needs exactly what the stack declares to see it."""

import os
import subprocess
import sys

import pytest

from tests.workloads.object_stores import files
from tests.workloads.recorded_pods import Pods
from tests.workloads.training.runs import ROOT
from workloads.check_access import ALLOWED, PROBE, UNAVAILABLE, WRONG

WORK = ("train", "publish", "copy")


def checked(*words: str) -> subprocess.CompletedProcess[str]:
    """The command of the check, as its pod runs it."""
    return subprocess.run(
        [sys.executable, "-m", "workloads.check_access", *words],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def words_of(pods: Pods, work: str) -> list[str]:
    [words] = [words for name, words in pods.checks.items() if f"-{work}-" in name]
    return words


def fill(words: list[str]) -> list[str]:
    """An object in every folder that the words name; the folders."""
    folders = words[1::2]
    for folder in folders:
        files(folder).pipe_file(f"{folder}/version/model", b"weights")
    return folders


def test_the_declared_permissions_are_enough_for_the_check_of_each_workload(pods: Pods) -> None:
    declared = {work: words_of(pods, work) for work in WORK}
    granted = {work: fill(words) for work, words in declared.items()}
    for work, words in declared.items():
        folders = granted[work]
        pods.act_as(work)
        done = checked(*words)
        assert (done.returncode, pods.refused()) == (ALLOWED, []), done.stderr
        assert all(PROBE not in path for folder in folders for path in files(folder).find(folder))
    assert all(front.forwarded for front in pods.fronts)


def test_a_pod_whose_grant_is_not_effective_yet_is_unavailable_and_the_next_one_passes(pods: Pods) -> None:
    words = words_of(pods, "publish")
    fill(words)
    pods.act_as("train")
    early = checked(*words)
    assert early.returncode == UNAVAILABLE and pods.refused()
    assert any(folder in early.stderr for folder in words[1::2])
    pods.act_as("publish")
    assert checked(*words).returncode == ALLOWED


@pytest.mark.parametrize("object_store", ["s3"], indirect=True)
def test_a_pod_that_came_before_its_credentials_is_unavailable(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    words = words_of(pods, "publish")
    done = checked(*words)
    assert done.returncode == UNAVAILABLE and "credentials" in done.stderr.lower()


def test_an_address_without_a_store_is_refused_before_anything_is_reached() -> None:
    done = checked("--read", "file:///tmp/folder")
    assert done.returncode == WRONG and "'file:///tmp/folder'" in done.stderr
    assert done.stdout == ""
