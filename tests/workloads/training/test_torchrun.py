"""The launcher ends with what befell the training, not with torchrun's 1 for everything."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.workloads.training.machines import machines
from tests.workloads.training.runs import ENDLESS, ROOT, TINY, TRAIN, await_first_step, launch, start
from workloads.training.torchrun import UNAVAILABLE

# A worker that does not end when it is asked to, and counts the seconds that it is given. The last one has done.
SLOW = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (folder / "asked").touch())
print(f"{os.environ['WORLD_SIZE']} together", file=sys.stderr, flush=True)
if os.environ["LOCAL_RANK"] == "1":
    while not (folder / "ready").exists():
        time.sleep(0.05)
    sys.exit(3)
(folder / "ready").touch()
while os.environ["WORLD_SIZE"] == os.environ["LOCAL_WORLD_SIZE"]:
    time.sleep(1)
    if (folder / "asked").exists():
        with open(folder / "seconds", "a") as seconds:
            seconds.write(".")
"""


# Fails at once in its first life; of the second it only begins.
SECOND_LIFE = """
import os, time
from workloads.training.workers import end_process
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "1":
    print("starting", flush=True)
    time.sleep(600)
end_process(lambda given: 1, [])
"""

# A launcher without a rendezvous to go to, and threads of its process that are in a store when it ends.
BUSY_THREADS = """
import runpy, sys, threading
from datetime import timedelta
from torch.distributed import TCPStore

def client(port, master):
    return TCPStore("127.0.0.1", port, is_master=master, wait_for_workers=False, timeout=timedelta(minutes=1))

def ask(port):
    mine = client(port, False)
    while True:
        mine.check(["a"])

store = client(0, True)
for _ in range(4):
    threading.Thread(target=ask, args=(store.port,), daemon=True).start()
runpy.run_module("workloads.training.torchrun", run_name="__main__", alter_sys=True)
"""


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
    assert ended(start([*ENDLESS, *kept, "--stop-at=1.5", "--log-every=1"], 2, tmp_path / "second.log")) == 75
    assert '"step"' not in (tmp_path / "second.log").read_text()


@pytest.mark.parametrize(("given", "said"), [("--batch=1", "batch=1"), ("--stop-at=noon", "stop_at='noon'")])
def test_a_launcher_says_that_a_setting_cannot_be_used(
    corpus: Path, tmp_path: Path, given: str, said: str
) -> None:
    how = launch(2, tmp_path / "temporary")
    how["args"] += [*TINY, f"--data={corpus}", f"--output={tmp_path / 'model'}", given]
    done = subprocess.run(**how, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "ValueError" not in done.stderr


def test_a_launcher_that_is_asked_to_stop_while_workers_start_again_does_not_tell_the_end_of_those_before(
    tmp_path: Path,
) -> None:
    (tmp_path / "second.py").write_text(SECOND_LIFE)
    how = launch(2, tmp_path / "temporary", ["--max-restarts=1", str(tmp_path / "second.py")])
    how["env"]["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        said = ""
        while "starting" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_launcher_says_that_a_worker_was_killed(corpus: Path, tmp_path: Path) -> None:
    process = start([*ENDLESS, f"--data={corpus}", f"--output={tmp_path / 'model'}"], 2, tmp_path / "log")
    await_first_step(process, tmp_path / "log")
    # Found together with the other one, which notices and fails, rank 0 goes first.
    [worker] = [each for each in psutil.Process(process.pid).children() if each.environ()["RANK"] == "0"]
    worker.kill()
    assert ended(process) == 128 + signal.SIGKILL


def test_a_run_whose_time_is_over_is_not_started_again_although_restarts_are_left(
    corpus: Path, tmp_path: Path
) -> None:
    how = launch(2, tmp_path / "temporary", ["--max-restarts=3", *TRAIN])
    how["args"] += [*ENDLESS, f"--data={corpus}", f"--output={tmp_path / 'model'}", "--stop-at", "1"]
    how["args"] += [f"--checkpoints={tmp_path / 'kept'}", "--log-every=1"]
    done = subprocess.run(**how, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert '"step": 1,' in done.stderr and '"loaded"' not in done.stderr


def test_a_launcher_whose_rendezvous_failed_ends_with_its_code_although_threads_are_in_a_store() -> None:
    away = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:1", "--rdzv-conf=is_host=false,read_timeout=1"]
    command = [sys.executable, "-c", BUSY_THREADS, *away, "--rdzv-id=one", "--nnodes=1", "absent.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == UNAVAILABLE, done.stderr


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


def test_workers_that_stop_since_another_one_failed_have_the_time_that_the_launcher_was_given(
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    how = launch(
        2, tmp_path / "temporary", ["--shutdown-timeout=2", str(tmp_path / "slow.py"), str(tmp_path)]
    )
    done = subprocess.run(**how, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert len((tmp_path / "seconds").read_text()) < 20  # as above
