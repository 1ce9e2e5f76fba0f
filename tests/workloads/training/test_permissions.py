"""Training, publishing, copying and serving with exactly the permissions that a stack declares."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.object_stores import files
from tests.workloads.permissions import Request, declared, judge
from tests.workloads.recorded_pods import Pods
from tests.workloads.serving import serving
from tests.workloads.training.lives import lived, told
from tests.workloads.training.runs import ROOT, TINY, TRAIN

CHECKPOINTED = [*TINY, "--steps", "30", "--checkpoint-every", "10", "--store-patience", "1"]


def command(module: str, *words: str) -> dict[str, Any]:
    """Run a workload as its pod does: the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}


def test_a_model_is_trained_published_copied_and_served_with_the_declared_permissions_and_no_other(
    pods: Pods, corpus: Path
) -> None:
    run = pods.become("train")
    words = [*CHECKPOINTED, "--data", str(corpus), "--run-id", "one"]
    words += [word for option in ("--checkpoints", "--output") for word in (option, run[option])]
    killed, resumed = lived(
        {"arguments": words, "events": [{"point": "published", "occurrence": 2, "act": "kill"}]},
        {"arguments": words, "events": []},
    )
    assert (killed["code"], resumed["code"]) == (-9, 0), (killed, resumed, pods.refused())
    assert next(line["step"] for line in told(resumed) if "step" in line) == 21, resumed

    publication = pods.become("publish")
    published = command(
        "workloads.serving.publish",
        *("--source", publication["--source"], "--scheme", "none", "--output", publication["--output"]),
    )
    copy = pods.become("copy")
    command("workloads.transfer", "--source", copy["--source"], "--output", copy["--output"])

    [there] = [
        uris
        for name, uris in pods.of.items()
        if "-serve-" in name and uris["--model-uri"] == copy["--output"]
    ]
    region = next(name for name, uris in pods.of.items() if uris is there).partition("-serve-")[0]
    uri = pods.become("serve", region)["--model-uri"]
    server = serving.Running(uri, published["digest"], (), {})
    try:
        assert server.wait_ready().complete(max_tokens=4).status_code == 200
    finally:
        server.kill()
    assert pods.refused() == []
    assert all(front.forwarded for front in pods.fronts)


def test_a_first_checkpoint_into_an_empty_bucket_needs_no_right_over_the_bucket(
    pods: Pods, corpus: Path, tmp_path: Path
) -> None:
    run = pods.become("train")
    [life] = lived(
        {
            "arguments": [
                *(*CHECKPOINTED, "--data", str(corpus)),
                *("--checkpoints", run["--checkpoints"], "--output", str(tmp_path / "model")),
            ],
            "events": [],
        }
    )
    published = [line["at_step"] for line in told(life) if line.get("checkpoint") == "published"]
    assert (life["code"], published, pods.refused()) == (0, [10, 20, 30], []), life


def test_a_file_of_several_parts_is_written_copied_and_removed_with_the_declared_permissions(
    pods: Pods,
) -> None:
    run = pods.become("train")
    place = f"{run['--checkpoints']}/large"
    store = files(place)
    with store.open(place, "wb", block_size=2**23) as file:
        for _ in range(3):
            file.write(os.urandom(2**23))
    store.cp_file(place, f"{place}-copy")
    assert store.info(f"{place}-copy")["size"] == 3 * 2**23
    store.rm(place)
    assert [path.rpartition("/")[2] for path in store.find(run["--checkpoints"])] == ["large-copy"]
    assert pods.refused() == []


def test_what_is_not_there_is_missing_and_what_is_not_granted_is_denied(pods: Pods) -> None:
    run = pods.become("train")
    store = files(run["--output"])
    assert not store.exists(f"{run['--output']}/none")
    with pytest.raises(FileNotFoundError):
        store.cat_file(f"{run['--output']}/none")
    outside = run["--output"].replace("/training/coder/", "/training/other/")
    for attempt in (store.cat_file, lambda path: store.pipe_file(path, b"content")):
        with pytest.raises(OSError, match=r"(?i)denied|forbidden|403"):
            attempt(f"{outside}/file")


@pytest.mark.parametrize("object_store", ["s3"], indirect=True)
def test_a_run_cannot_be_started_in_another_run_s_folder(pods: Pods, corpus: Path, tmp_path: Path) -> None:
    run = pods.become("train")
    place = run["--checkpoints"].replace("/training/coder/", "/training/other/")
    words = [*TINY, "--data", str(corpus), "--checkpoints", place, "--store-patience", "0.1"]
    done = subprocess.run(
        [sys.executable, *TRAIN, *words, "--output", str(tmp_path / "model")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{place}: cannot" in done.stderr and "this machine may use it" in done.stderr


def put(path: str, **headers: str) -> Request:
    return Request("PUT", path, headers, b"")


def test_the_judge_of_s3_asks_for_the_object_its_source_and_both_keys_of_a_copy() -> None:
    [identity] = [name for name in declared("aws")["identities"] if "-copy-" in name]
    [pod] = [pod for pod in declared("aws")["pods"] if pod["identity"] == identity]
    source, output = (pod["uris"][option].removeprefix("s3:/") for option in ("--source", "--output"))
    assert (
        judge("s3", identity).refuses(put(f"{output}/file", **{"x-amz-copy-source": f"{source}/file"})) == []
    )
    back = judge("s3", identity).refuses(put(f"{source}/file", **{"x-amz-copy-source": f"{output}/file"}))
    assert {check.action for check in back} == {"s3:PutObject", "kms:GenerateDataKey"}


@pytest.mark.parametrize(
    ("method", "query", "action"),
    [
        ("HEAD", "", "s3:ListBucket"),
        ("GET", "?location", "s3:GetBucketLocation"),
        ("PUT", "", "s3:CreateBucket"),
        ("GET", "?list-type=2&prefix=training/other/", "s3:ListBucket"),
        ("GET", "?list-type=2", "s3:ListBucket"),
        ("DELETE", "", "s3:DeleteBucket"),
    ],
)
def test_the_judge_of_s3_refuses_what_concerns_the_whole_bucket(method: str, query: str, action: str) -> None:
    [pod] = [pod for pod in declared("aws")["pods"] if "-train-" in pod["identity"]]
    bucket = pod["uris"]["--output"].split("/")[2]
    [check] = judge("s3", pod["identity"]).refuses(Request(method, f"/{bucket}{query}", {}, b""))
    assert check.action == action


def test_the_judge_of_cloud_storage_refuses_a_bucket_s_own_facts_and_other_folders() -> None:
    [pod] = [pod for pod in declared("gcp")["pods"] if "-train-" in pod["identity"]]
    bucket = pod["uris"]["--output"].split("/")[2]
    decide = judge("gs", pod["identity"])
    [probe] = decide.refuses(Request("GET", f"/storage/v1/b/{bucket}", {}, b""))
    assert probe.action == "storage.buckets.get"
    [other] = decide.refuses(Request("GET", f"/storage/v1/b/{bucket}/o/training%2Fother%2Ffile", {}, b""))
    assert other.action == "storage.objects.get"
    assert decide.refuses(Request("GET", f"/storage/v1/b/{bucket}/o/training%2Fcoder%2Ffile", {}, b"")) == []


def test_a_pod_meets_cloud_storage_with_the_client_that_was_tried() -> None:
    """By default gcsfs first asks another service, which the emulator is not, what kind of bucket it meets."""
    look = "import workloads.remote, gcsfs; print(gcsfs.GCSFileSystem.__module__)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GCSFS")}
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "gcsfs.core"
