"""Runs whose data, checkpoints and models lie in object stores that really run, and fail for real."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.object_stores import Front, ObjectStore, files, new_bucket, start
from tests.workloads.serving import serving
from tests.workloads.training.lives import lived, told
from tests.workloads.training.runs import ROOT, TINY, TRAIN

CHECKPOINTED = [*TINY, "--steps", "30", "--checkpoint-every", "10", "--store-patience", "0.3"]


@pytest.mark.parametrize("object_store", ["s3"], indirect=True)
def test_the_commands_of_the_how_to_lead_from_text_to_answers_through_buckets_only(
    bucket: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    environment = {**os.environ, "BUCKET": bucket, "PYTHONPATH": str(ROOT)}
    store, lines = files(bucket), []
    for path in corpus.iterdir():
        store.put_file(str(path), f"{bucket}/text/{path.name}")
    page = (ROOT / "docs" / "how-to" / "object-stores.md").read_text()
    *commands, serve = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    for command in commands:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines.append(json.loads(done.stdout.splitlines()[-1]))
    prepared, trained, published = lines
    assert (prepared["output"], trained["output"]) == (f"{bucket}/data", f"{bucket}/model")
    assert trained["data_digest"] == prepared["digest"]
    assert published["source_digest"] == trained["manifest_digest"]
    assert '--model-uri "$BUCKET/int8"' in serve
    server = serving.Running(f"{bucket}/int8", published["digest"], (), {})
    try:
        assert server.wait_ready().complete(max_tokens=4).status_code == 200
    finally:
        server.kill()


def test_text_in_a_bucket_must_be_prepared_first(bucket: str) -> None:
    files(bucket).pipe_file(f"{bucket}/text/one.py", b"text")
    done = subprocess.run(
        [sys.executable, *TRAIN, "--data", f"{bucket}/text"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{bucket}/text/manifest.json: expected the manifest" in done.stderr
    assert "text must be prepared first" in done.stderr


def life(corpus: Path, place: str, output: Path, *more: str, **event: Any) -> dict[str, Any]:
    given = ["--data", str(corpus), "--checkpoints", place, "--output", str(output), "--run-id", "one", *more]
    return {"arguments": [*CHECKPOINTED, *given], "events": [event] if event else []}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_checkpoints_in_a_bucket_outlive_a_kill_refuse_another_run_and_pass_over_a_damaged_one(
    bucket: str, corpus: Path, tmp_path: Path
) -> None:
    one, two = f"{bucket}/one", f"{bucket}/two"
    calm, killed, other, after, whole, damaged = lived(
        life(corpus, str(tmp_path / "calm"), tmp_path / "calm-model"),
        life(corpus, one, tmp_path / "one", "--keep", "1", point="files", occurrence=2, act="kill"),
        life(corpus, one, tmp_path / "other", "--run-id", "two"),
        life(corpus, one, tmp_path / "one", "--keep", "1"),
        life(corpus, two, tmp_path / "whole"),
        life(corpus, two, tmp_path / "two", point="start", occurrence=1, act="alter object"),
    )
    assert [each["code"] for each in (calm, killed, other, after, whole, damaged)] == [0, -9, 2, 0, 0, 0], (
        calm,
        killed,
        other,
        after,
        whole,
        damaged,
    )
    assert "run 'one' works here" in other["said"]
    assert next(line["step"] for line in told(after) if "step" in line) == 11, after
    left = {path.rpartition("/one/")[2] for path in files(bucket).find(one)}
    assert {path.partition("/")[0] for path in left} == {"latest", "step-00000030"}, left
    [refused] = [line for line in told(damaged) if line.get("checkpoint") == "not loaded"]
    assert refused["place"] == f"{two}/step-00000030"
    assert refused["why"] == "__0_0.distcp is missing or altered"
    assert next(line["step"] for line in told(damaged) if "step" in line) == 21, damaged
    assert weights(tmp_path / "one") == weights(tmp_path / "two") == weights(tmp_path / "calm-model")


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An S3 server of the test's own, which it may stop."""
    store = start("s3")
    environment = {**store.environment, "STORE_PROCESS": str(store.process.pid), "AWS_MAX_ATTEMPTS": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield store
    store.stop()


def test_a_store_that_stops_is_tried_a_bounded_number_of_times_and_then_the_fallback_is_used(
    own_store: ObjectStore, corpus: Path, tmp_path: Path
) -> None:
    place, fallback = f"{new_bucket('s3')}/run", tmp_path / "fallback"
    stopped = {"point": "copied", "occurrence": 2, "act": "stop store"}  # 10 is published, 20 not begun
    kept, again = lived(
        life(corpus, place, tmp_path / "model", "--fallback", str(fallback), **stopped),
        life(corpus, place, tmp_path / "again"),
    )
    assert kept["code"] == 0, kept
    published = [
        (line["at_step"], line["place"]) for line in told(kept) if line.get("checkpoint") == "published"
    ]
    assert published == [(10, place), (20, str(fallback)), (30, str(fallback))]
    refused = [line["place"] for line in told(kept) if line.get("checkpoint") == "refused by its place"]
    assert refused == [place, place]
    assert again["code"] == 1
    assert f"{place}: cannot read lease.json" in again["said"] and "look whether it is there" in again["said"]
    assert "Traceback" not in again["said"] and not (tmp_path / "again").exists()


def test_what_a_store_denies_to_one_of_two_workers_both_try_again_and_both_keep_elsewhere(
    own_store: ObjectStore, corpus: Path, tmp_path: Path
) -> None:
    place, fallback = f"{new_bucket('s3')}/run", tmp_path / "fallback"
    denied: list[str] = []

    def denies(method: str, path: str) -> bool:
        """The second worker's part of step 3 once, of step 6 always."""
        mine = method == "PUT" and path.endswith("__1_0.distcp")
        if mine and ("step-00000006" in path or not denied):
            denied.append(path)
            return True
        return False

    front = Front(own_store, denies)
    given = [*TINY, "--data", str(corpus), "--checkpoint-every", "3", "--output", str(tmp_path / "model")]
    given += [
        "--checkpoints",
        place,
        "--fallback",
        str(fallback),
        "--store-patience",
        "0.3",
        "--run-id",
        "one",
    ]
    codes, said = together(given, [own_store.environment, front.environment])
    front.shutdown()
    assert codes == [0, 0], said
    lines = [json.loads(line) for line in said[0].splitlines() if line.startswith('{"checkpoint"')]
    assert [(line["checkpoint"], line.get("at_step"), line["place"]) for line in lines] == [
        ("published", 3, place),
        ("refused by its place", None, place),
        ("published", 6, str(fallback)),
    ]
    assert "AccessDenied" in lines[1]["why"]
    assert len(denied) >= 2


def together(given: list[str], environments: list[dict[str, str]]) -> tuple[list[int], list[str]]:
    """Exit codes and stderr of workers that differ in their environment, which a launcher's do not."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = []
    for rank, environment in enumerate(environments):
        ours = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(environments))}
        ours |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        workers.append(
            subprocess.Popen(
                [sys.executable, *TRAIN, *given],
                cwd=ROOT,
                env={**os.environ, **environment, **ours, "GLOO_SOCKET_IFNAME": "lo"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [""] * len(workers)

    def listen(rank: int) -> None:
        said[rank] = workers[rank].communicate()[1]

    listeners = [threading.Thread(target=listen, args=[rank]) for rank in range(len(workers))]
    for each in listeners:
        each.start()
    for each in listeners:
        each.join()
    return [worker.returncode for worker in workers], said
