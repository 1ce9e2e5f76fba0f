"""A search over settings: it runs real trials, prunes, shares its study, and outlives what befalls its processes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from tests.waiting import HANG_SECONDS, until
from tests.workloads.training.runs import ROOT, TINY
from workloads.manifest import verify_manifest
from workloads.training.search_space import KINDS, SEARCHABLE, Range
from workloads.training.study import counted, open_study
from workloads.training.trial_process import TrialProcess
from workloads.training.tune import Search, TrialFailed, TuneConfig, main


def arguments(folder: Path, corpus: Path, *more: str, training: tuple[str, ...] = ()) -> list[str]:
    ours = ["--storage", str(folder / "study.db"), "--work", str(folder / "work"), "--heartbeat", "600"]
    ours += ["--space", "learning_rate=log:1e-3:1e-2", *more]
    return [*ours, "--", *TINY, "--data", str(corpus), *training]


@contextmanager
def started(given: list[str]) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "workloads.training.tune", *given]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # a failed test must not wait for it


def ended(process: subprocess.Popen) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result of a search that went well, and what it told of its trials."""
    out, said = process.communicate()
    assert process.returncode == 0, said
    return json.loads(out), [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def training(search: subprocess.Popen, log: Path) -> psutil.Process:
    """The process of the trial with this log, once it is tied to the search; it then has yet to import torch."""

    def tied() -> psutil.Process | None:
        for child in psutil.Process(search.pid).children() if log.exists() else []:
            with suppress(psutil.NoSuchProcess):
                if {"workloads.training.train", "workloads.training.torchrun"} & set(child.cmdline()[:3]):
                    return child
        assert search.poll() is None, log
        return None

    return until(tied, lambda: log, pause=0.02)


def await_step(process: subprocess.Popen, log: Path) -> None:
    def stepped() -> bool:
        assert process.poll() is None, log
        return log.exists() and '"step"' in log.read_text()

    until(stepped, lambda: log)


def test_the_search_of_the_how_to_prunes_and_publishes_the_best_trials_model(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "tune.md").read_text()
    [command] = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    trials = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    states = [trial["state"] for trial in trials]
    assert result["pruned"] == states.count("pruned") >= 1, done.stderr
    assert result["trials"] == len(trials) == result["complete"] + result["pruned"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["bits_per_byte"])
    assert (result["best_trial"], result["best_parameters"]) == (best["trial"], best["parameters"])
    manifest = verify_manifest(tmp_path / "out" / "best", result["manifest_digest"])
    assert manifest["metrics"]["bits_per_byte"] == result["best_value"] == best["bits_per_byte"]
    work = tmp_path / "out" / "tune" / "tune"
    assert [folder.parent.name for folder in work.glob("*/model")] == [f"trial-{best['trial']:05d}"]
    pruned = next(trial["trial"] for trial in trials if trial["state"] == "pruned")
    log = (work / f"trial-{pruned:05d}" / "log").read_text()
    assert "stopped by SIGTERM; nothing was published" in log


def test_a_search_of_two_workers_that_is_stopped_and_then_killed_goes_on_with_the_same_parameters(
    corpus: Path, tmp_path: Path
) -> None:
    given = arguments(tmp_path, corpus, "--trials", "1", "--heartbeat", "1", "--patience", "1")
    given[:0] = ["--workers", "2", "--output", str(tmp_path / "best")]
    for number, end in enumerate((signal.SIGTERM, signal.SIGKILL)):
        with started(given) as process:
            trial = training(process, tmp_path / "work" / "tune" / f"trial-{number:05d}" / "log")
            trial.suspend()  # it must not end by itself, and hears no SIGTERM
            assert psutil.Process(process.pid).children(recursive=True) == [trial]
            process.send_signal(end)
            assert process.wait(HANG_SECONDS) == (143 if end == signal.SIGTERM else -9)
            _, alive = psutil.wait_procs([trial], timeout=HANG_SECONDS)
        assert alive == []
    with started(given) as process:
        result, [told] = ended(process)
    kept = optuna.load_study(study_name="tune", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert [trial.state.name for trial in kept] == ["FAIL", "FAIL", "COMPLETE"]
    assert kept[0].params == kept[1].params == kept[2].params == result["best_parameters"]
    assert (result["trials"], result["failed"], told["trial"]) == (1, 0, 2)
    assert json.loads((tmp_path / "best" / "record.json").read_text())["world_size"] == 2


def test_a_search_that_is_stopped_ends_its_trial_at_once(corpus: Path, tmp_path: Path) -> None:
    endless = ("--steps=99999999", "--log-every=100")
    with started(arguments(tmp_path, corpus, "--trials=1", "--patience=100000", training=endless)) as process:
        await_step(process, tmp_path / "work" / "tune" / "trial-00000" / "log")
        [trial] = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 143
        assert not trial.is_running()


def test_two_processes_share_a_study_and_its_number_of_trials(corpus: Path, tmp_path: Path) -> None:
    given = arguments(tmp_path, corpus, "--trials", "2")
    with started(given) as first:
        trial = training(first, tmp_path / "work" / "tune" / "trial-00000" / "log")
        trial.suspend()
        with started(given) as second:
            training(second, tmp_path / "work" / "tune" / "trial-00001" / "log")
            trial.resume()
            results = [ended(first), ended(second)]
    assert [[trial["trial"] for trial in told] for _, told in results] == [[0], [1]]
    assert results[0][0] == results[1][0]
    assert (results[0][0]["trials"], results[0][0]["complete"]) == (2, 2)
    drawn = {trial["parameters"]["learning_rate"] for _, told in results for trial in told}
    assert len(drawn) == 2


def test_a_process_group_that_does_not_heed_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = """trap '' TERM; sleep 6000 & echo "{\\"step\\": $!}"; wait"""
    with TrialProcess(["/bin/bash", "-c", deaf], os.environ, tmp_path / "log", patience=0.5) as process:
        child = psutil.Process(next(process.lines())["step"])
    assert process.code() == -9
    assert psutil.wait_procs([child], timeout=HANG_SECONDS)[1] == []


def opened(folder: Path, name: str = "tune") -> optuna.Study:
    return open_study(name, str(folder / "new" / "study.db"), 600, optuna.pruners.NopPruner(), {"space": {}})


def test_processes_may_make_a_study_at_the_same_moment(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        studies = list(pool.map(opened, [tmp_path] * 8))
    assert {study._study_id for study in studies} == {1}


def test_a_trial_begun_at_the_same_moment_as_the_last_one_does_not_run(tmp_path: Path) -> None:
    study = opened(tmp_path)
    config = TuneConfig(trials=1, work=str(tmp_path / "work"))
    unusable = ["--steps", "0"]  # a training that began all the same would end at once
    search = Search(config, {"clip": Range(0.5, 1.0, log=False)}, unusable, study)
    _, second = study.ask(), study.ask()
    with pytest.raises(TrialFailed, match="one too many"):
        search.objective(second)
    assert [trial.number for trial in counted(study)] == [0]
    assert not (tmp_path / "work").exists()


def test_every_searchable_setting_is_one_of_the_training() -> None:
    assert set(SEARCHABLE) <= set(KINDS)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ([], "space: must name at least one setting"),
        (
            ["speed=1:2"],
            "space speed=1:2: is nothing to search over; known are batch, accumulate, learning_rate",
        ),
        (["clip"], "space 'clip': must be NAME=CHOICE,CHOICE, NAME=LOW:HIGH or NAME=log:LOW:HIGH"),
        (["clip=1:2:3"], "space clip=1:2:3: must be NAME=CHOICE"),
        (["layers=1.5:2"], "space layers=1.5:2: must be a whole number"),
        (["clip=2:1"], "the low end must be below the high one; swap them"),
        (["clip=log:0:1"], "a log range must begin above 0; raise its low end"),
        (["precision=fp32:bf16"], "is no number and has no range; list its choices"),
        (["clip=1,1"], "names a choice twice"),
        (["clip=1:2", "clip=3,4"], "is given twice; keep one"),
        (["heads=3,4"], "heads=3: width / heads must be an even whole number"),
        (["clip=-1:1"], "clip=-1.0: must be above 0 and finite"),
        (["missing.json"], "space missing.json: is no JSON object of settings"),
        (["steps=10,20"], "space steps=10,20: is nothing to search over"),
        (["data=a,b"], "space data=a,b: is nothing to search over"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_and_nothing_is_made(
    space: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for each in space for word in ("--space", each)]
    storage, work = str(tmp_path / "study.db"), str(tmp_path / "work")
    nowhere = ["--", f"--data={tmp_path / 'nowhere'}"]  # as above
    assert main([*words, "--storage", storage, "--work", work, *nowhere]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_space_may_stand_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space.json").write_text('{"tied": [true, false], "learning_rate": "log:1:0.1"}')
    assert main(["--space", str(tmp_path / "space.json")]) == 2
    said = capsys.readouterr().err
    assert "one setting cannot be used" in said and "learning_rate=log:1:0.1: the low end" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--", "--output=x"], "output: stands behind -- and each trial has its own"),
        (["--", "--clip", "1"], "clip: stands behind -- and is searched"),
        (["--trials", "0"], "trials=0: must be at least 1"),
        (["--", "--stepz=1"], "--stepz=1: is no setting"),
        (["--storage", "nosuch://user@host/name"], "cannot be used"),
        (["--storage", "{tmp}/text"], "file is not a database"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_remedy(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("this is a text and no database, " * 100)
    words = [word.replace("{tmp}", str(tmp_path)) for word in given]
    assert main(["--space", "clip=1,2", "--storage", str(tmp_path / "db"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "secret" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_study_that_asked_for_something_else_is_not_mixed_with(tmp_path: Path, capsys) -> None:
    opened(tmp_path)
    storage = str(tmp_path / "new" / "study.db")
    nowhere = ["--", f"--data={tmp_path / 'nowhere'}"]  # trials that began all the same would end at once
    assert main(["--storage", storage, "--space", "clip=1,2", *nowhere]) == 2
    assert "study='tune': was begun with space={} and is now asked for" in capsys.readouterr().err


def test_data_that_no_trial_can_use_ends_the_search_and_counts_no_trial(tmp_path: Path, capsys) -> None:
    given = ["--storage", str(tmp_path / "db"), "--work", str(tmp_path / "work"), "--space", "clip=1,2"]
    assert main([*given, "--", "--data", str(tmp_path / "nowhere")]) == 2
    assert "must be an existing folder" in capsys.readouterr().err
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{tmp_path / 'db'}")
    assert counted(study) == []


@pytest.mark.parametrize(
    "url", ["nosuch://user:se/c@ret@host/name", "nosuch://user@host/name?password=secret"]
)
def test_a_database_url_with_a_password_is_refused_and_not_repeated(url: str, tmp_path: Path, capsys) -> None:
    assert main(["--space", "clip=1,2", "--storage", url]) == 2
    said = capsys.readouterr().err
    assert "without a password; that goes in SKERRY_TUNE_PASSWORD" in said and "***" in said
    assert "ret" not in said


def test_a_databases_password_comes_from_the_environment_and_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("SKERRY_TUNE_PASSWORD", "secret")
    given: list[str] = []
    storage = optuna.storages.RDBStorage
    monkeypatch.setattr(
        optuna.storages, "RDBStorage", lambda url, **more: (given.append(url), storage(url, **more))[1]
    )
    assert main(["--space", "clip=1,2", "--storage", "nosuch://user@host/name"]) == 2
    assert set(given) == {"nosuch://user:secret@host/name"}
    assert "secret" not in capsys.readouterr().err
