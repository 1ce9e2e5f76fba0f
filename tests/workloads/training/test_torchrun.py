"""The launcher ends with what befell the training, not with torchrun's 1 for everything."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.workloads.training.runs import ENDLESS, TINY, await_first_step, launch, start, write_corpus


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
