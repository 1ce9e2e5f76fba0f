"""A run in MLflow, on a tracking server that is a process of its own."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.ports import free_port
from tests.waiting import HANG_SECONDS, until
from tests.workloads.training.runs import TRAIN, kept, launch, start
from tests.workloads.training.test_telling import told
from workloads.training import tracking
from workloads.training.config import TrainConfig, shown

SETTINGS = {"log": "", "steps": 3, "model": {"width": 32}}
# Where a server answers, a run waits for it: how much of the machine both get is not what these tests are about.
PATIENT = ["--mlflow-patience", "600"]


@contextmanager
def server(folder: Path, port: int) -> Iterator[psutil.Process]:
    """A tracking server with its database in `folder`, once it answers; all its processes end with the block."""
    command = [*(sys.executable, "-m", "mlflow", "server"), *("--host", "127.0.0.1", "--port", str(port))]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    command += ["--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    folder.mkdir(exist_ok=True)
    address = f"http://127.0.0.1:{port}"
    with open(folder / "server.log", "ab") as out:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "server.log").read_text()
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=HANG_SECONDS):
                return True
            return False

        until(answers, (folder / "server.log").read_text)
        yield process
    finally:
        kill(process)


def kill(process: psutil.Process) -> None:
    """SIGKILL to the server and all that it started."""
    with suppress(psutil.NoSuchProcess):
        for each in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def await_words(log: Path, *words: str) -> None:
    until(lambda: any(word in log.read_text() for word in words), log.read_text)


def tracked(corpus: Path, folder: Path, port: int) -> list[str]:
    given = [*kept(corpus, folder), "--checkpoint-every", "200", "--run-id", "tracked"]
    return [*given, "--mlflow-uri", f"http://127.0.0.1:{port}", "--mlflow-experiment", "tests"]


def test_a_run_without_its_server_ends_well_and_says_so_once(corpus: Path, tmp_path: Path) -> None:
    given, log = tracked(corpus, tmp_path, free_port()), tmp_path / "log"
    with start([*given, "--steps", "1000000", "--log-every", "200"], 1, log) as process:
        await_words(log, '"not reached"')
        process.terminate()
        assert process.wait(HANG_SECONDS) == 75
    kept = max(int(path.name[5:]) for path in (tmp_path / "places").glob("step-*"))
    said = told((tmp_path / "run.jsonl").read_text())
    assert [line["tracking"] for line in said if "tracking" in line] == ["not reached", "given up"]
    assert said[-1]["lines_not_sent"] == len(said) - 2
    with start([*given, "--steps", str(kept + 3), "--mlflow-patience", "1"], 1, tmp_path / "last") as process:
        assert process.wait(HANG_SECONDS) == 0, (tmp_path / "last").read_text()
    said = told((tmp_path / "run.jsonl").read_text())
    assert said[-1]["tracking"] == "given up"
    assert [line["step"] for line in said if "step" in line][-3:] == [kept + 1, kept + 2, kept + 3]


def test_no_worker_leaves_before_rank_0_has_told_of_the_end(corpus: Path, tmp_path: Path) -> None:
    how = launch(2, tmp_path / "temporary", ["--shutdown-timeout=1", *TRAIN])
    how["args"] += [*tracked(corpus, tmp_path, free_port()), "--stop-at", "1"]
    done = subprocess.run(**how, capture_output=True, text=True)
    # Else torchrun stops rank 0 while it still tries to reach the server.
    assert done.returncode == 75 and '"given up"' in done.stderr, done.stderr


def test_a_run_that_ends_since_it_was_asked_to_is_not_interrupted_by_being_asked_again(
    corpus: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with start([*tracked(corpus, tmp_path, free_port()), "--stop-at", "1"], 1, log) as process:
        await_words(log, '"ended"')
        process.terminate()
        assert process.wait(HANG_SECONDS) == 75
    assert '"given up"' in log.read_text() and "stopped by SIGTERM" not in log.read_text()


def test_all_lives_are_one_run_although_the_server_is_killed_in_mid_run(corpus: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    given = [*tracked(corpus, tmp_path, port), *PATIENT]
    with server(tmp_path / "server", port) as first:
        with start([*given, "--stop-at", "1"], 1, tmp_path / "stopped") as process:
            assert process.wait(HANG_SECONDS) == 75
        process = start([*given, "--steps", "1000000", "--log-every", "200"], 1, log)
        with process:
            await_words(log, '"step"')
            kill(first)
            await_words(log, '"not reached"')
            training = psutil.Process(process.pid)
            training.suspend()  # it would only take the new server's time
            with server(tmp_path / "server", port):
                training.resume()
                await_words(log, '"reached again"')
                process.terminate()
                assert process.wait(HANG_SECONDS) == 75
                kept = max(int(path.name[5:]) for path in (tmp_path / "places").glob("step-*"))
                with start([*given, "--steps", str(kept + 3)], 1, tmp_path / "last") as last:
                    assert last.wait(HANG_SECONDS) == 0, (tmp_path / "last").read_text()
                client = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
                experiment = client.get_experiment_by_name("tests")
                assert experiment is not None
                [run] = client.search_runs([experiment.experiment_id])
                losses = {
                    each.step: each.value for each in client.get_metric_history(run.info.run_id, "loss")
                }
                found = {each.path for each in client.list_artifacts(run.info.run_id)}
    said = told((tmp_path / "run.jsonl").read_text())
    assert [line["tracking"] for line in said if "tracking" in line] == ["not reached", "reached again"]
    assert losses == pytest.approx({line["step"]: line["loss"] for line in said if "step" in line})
    assert run.info.status == "FINISHED"
    assert (run.data.params["model.width"], run.data.params["run_id"]) == ("32", "tracked")
    assert (run.data.tags["skerry.run_id"], run.data.tags["life"]) == ("tracked", "3")
    record = json.loads((tmp_path / "model" / "record.json").read_text())
    assert run.data.metrics["bits_per_byte"] == record["bits_per_byte"]
    assert found >= {"README.md", "config.json", "record.json", "report.svg", "settings.json"}


def test_a_server_that_hangs_is_not_waited_for_until_the_launcher_kills_the_worker() -> None:
    assert TrainConfig().mlflow_patience < 30  # what a launcher gives
    said: list[dict] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes a request and never answers it
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ours = tracking.Tracking(uri, "tests", "one", SETTINGS, said.append, patience=1.0)
        ours.hear({"step": 1, "loss": 1.0, "time": 0.0})
        ours.close()
        assert ours._thread.is_alive()
    assert {"tracking": "given up", "place": uri, "lines_not_sent": 1} in said


def test_the_end_waits_for_a_server_that_takes_long_as_long_as_its_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without a server, artifacts go below the working directory
    uri, said = f"sqlite:///{tmp_path}/db", list[dict]()
    ours = tracking.Tracking(uri, "tests", "one", SETTINGS, said.append, patience=600.0)
    ours.hear({"ended": "stopped", "time": 0.0})
    ours.close()  # begins before the library is imported and the database has its tables
    assert said == []
    [run] = MlflowClient(tracking_uri=uri).search_runs(["1"])
    assert run.info.status == "KILLED"


def test_settings_that_were_lost_at_the_first_try_are_sent_at_the_next(tmp_path: Path) -> None:
    uri, files = f"sqlite:///{tmp_path}/db", tmp_path / "files"
    files.touch()  # a file where the folder should be: nothing can be written below
    client = MlflowClient(tracking_uri=uri)
    place = client.create_experiment("tests", artifact_location=str(files / "deep"))
    with pytest.raises(OSError):
        tracking.Session(uri, "tests", "one", SETTINGS)
    files.unlink()
    for _ in range(2):
        tracking.Session(uri, "tests", "one", SETTINGS)
    [run] = client.search_runs([place])
    assert run.data.params == {"log": "", "steps": "3", "model.width": "32"}


def test_papers_and_end_of_a_model_whose_path_has_a_space_and_an_umlaut_are_sent(tmp_path: Path) -> None:
    uri, model = f"sqlite:///{tmp_path}/db", tmp_path / "Modell ä"
    model.mkdir()
    for paper in tracking.PAPERS:
        (model / paper).write_text("{}")
    client = MlflowClient(tracking_uri=uri)
    place = client.create_experiment("tests", artifact_location=str(tmp_path / "files"))
    ended = {"ended": "published", "place": shown(model), "time": 0.0}
    tracking.Session(uri, "tests", "one", SETTINGS).send([ended])
    [run] = client.search_runs([place])
    assert run.info.status == "FINISHED"
    assert {each.path for each in client.list_artifacts(run.info.run_id)} >= set(tracking.PAPERS)
