"""The launcher ends with what befell the training, not with torchrun's 1 for everything."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.workloads.training.machines import machines
from tests.workloads.training.runs import ENDLESS, TINY, TRAIN, await_first_step, launch, start, write_corpus

# A worker that does not end when it is asked to, and counts the seconds that it is given. The last one has done.
SLOW = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (folder / "asked").touch())
print(f"{os.environ['WORLD_SIZE']} together", file=sys.stderr, flush=True)
while os.environ["WORLD_SIZE"] == "1":
    time.sleep(1)
    if (folder / "asked").exists():
        with open(folder / "seconds", "a") as seconds:
            seconds.write(".")
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


def ended(process: subprocess.Popen) -> int:
    process.communicate()
    return process.returncode


def test_a_launcher_that_is_asked_to_stop_says_that_the_run_can_go_on_and_the_next_life_ends_it(
    corpus: Path, tmp_path: Path
) -> None:
    kept = [f"--data={corpus}", f"--checkpoints={tmp_path / 'kept'}", f"--output={tmp_path / 'model'}"]
    kept += ["--run-id=one"]
    process = start([*ENDLESS, *kept], 2, tmp_path / "first.log")
    await_first_step(process, tmp_path / "first.log")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 75
    # A time that is over takes no step more, and is not a failure that is worth another try.
    assert ended(start([*ENDLESS, *kept, "--stop-at=1.5"], 2, tmp_path / "second.log")) == 75
    assert '"step"' not in (tmp_path / "second.log").read_text()


def test_a_launcher_says_that_a_setting_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    how = launch(2, tmp_path / "temporary")
    how["args"] += [*TINY, f"--data={corpus}", f"--output={tmp_path / 'model'}", "--batch=3"]
    done = subprocess.run(**how, capture_output=True, text=True)
    assert done.returncode == 2 and "batch=3" in done.stderr


def test_a_launcher_says_that_a_worker_was_killed(corpus: Path, tmp_path: Path) -> None:
    process = start([*ENDLESS, f"--data={corpus}", f"--output={tmp_path / 'model'}"], 2, tmp_path / "log")
    await_first_step(process, tmp_path / "log")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    subprocess.run(["kill", "-KILL", children[-1]], check=True)
    assert ended(process) in (128 + signal.SIGKILL, 1)  # 1: the other worker noticed first


def test_a_run_whose_time_is_over_is_not_started_again_although_restarts_are_left(
    corpus: Path, tmp_path: Path
) -> None:
    how = launch(2, tmp_path / "temporary", ["--max-restarts=3", *TRAIN])
    how["args"] += [*ENDLESS, f"--data={corpus}", f"--output={tmp_path / 'model'}", "--stop-at", "1"]
    how["args"] += [f"--checkpoints={tmp_path / 'kept'}", "--log-every=1"]
    done = subprocess.run(**how, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert '"step": 1,' in done.stderr and '"loaded"' not in done.stderr


def test_workers_that_stop_since_a_machine_joins_have_the_time_that_the_launcher_was_given(
    corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    with machines(tmp_path, corpus, []) as run:
        run.entry, run.arguments = ["--shutdown-timeout=2", str(tmp_path / "slow.py"), str(tmp_path)], []
        first = run.start("first")
        run.until_said("first", "1 together")
        second = run.start("second")
        assert (first.wait(), second.wait()) == (0, 0), run.everything()
    # torch's own agent gives 30 seconds, whatever it was told; the worker cannot count more than there were.
    assert len((tmp_path / "seconds").read_text()) < 20
