"""Two machines, a launcher each: one may go at any time and come back, the run goes on with those that are there."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.workloads.training.machines import machines
from tests.workloads.training.runs import ROOT, lines, start
from workloads.training.preemption import PREEMPTED
from workloads.training.torchrun import UNAVAILABLE

TOLERANCE = 1e-3  # nats; sums over another number of workers are rounded otherwise


def test_a_machine_that_is_killed_and_comes_back_is_done_without_and_taken_in_again(
    corpus: Path, tmp_path: Path
) -> None:
    with machines(tmp_path, corpus, [(2, 50), (1, 91)], "--steps", "120") as run:
        first, second = run.start("first"), run.start("second")
        run.until(step=49, kept=40, world=2)
        assert {address.removeprefix("::ffff:") for address in run.listening()} == {"127.0.0.1"}
        run.kill(second)
        run.let_go_on(2)
        run.until(step=90, kept=80, world=1)
        second = run.start("second")
        assert (first.wait(), second.wait()) == (0, 0), run.everything()
        steps = [line["step"] for line in sorted(run.steps(), key=lambda line: line["step"])]
        # Killed before step 50, so the nine steps after the checkpoint were taken twice; nothing is lost by a return.
        assert steps == sorted([*range(1, 121), *range(41, 50)])
        assert run.worlds() == {20: 2, 40: 2, 60: 1, 80: 1, 91: 1, 100: 2, 120: 2}
        log = tmp_path / "alone.log"
        with start([*run.arguments, "--checkpoints", ""], 1, log) as alone:
            alone.communicate()
        calm = {line["step"]: line["loss"] for line in lines(log.read_text())}
        assert max(abs(line["loss"] - calm[line["step"]]) for line in run.steps()) <= TOLERANCE


def test_a_machine_that_is_asked_to_leave_costs_no_step(corpus: Path, tmp_path: Path) -> None:
    with machines(tmp_path, corpus, [(2, 30)], "--steps", "50") as run:
        first, second = run.start("first"), run.start("second")
        run.until(step=29, kept=20, world=2)
        second.send_signal(signal.SIGTERM)
        run.until_said("second", "SIGTERM: the step ends")
        run.let_go_on(2)
        assert (first.wait(), second.wait()) == (0, PREEMPTED), run.everything()
        assert sorted(line["step"] for line in run.steps()) == [*range(1, 51)]
        assert run.worlds() == {20: 2, 30: 2, 40: 1, 50: 1}


def test_a_launcher_whose_restarts_are_used_up_fails_and_a_new_one_goes_on_at_the_same_meeting(
    corpus: Path, tmp_path: Path
) -> None:
    with machines(tmp_path, corpus, [(1, 30), (1, 50)], "--steps", "60", restarts=1) as run:
        first = run.start("first")
        for times in (1, 2):
            run.until(step=29, kept=20, world=1)
            run.until_said("first", '"step": 29,', times)
            [worker] = psutil.Process(first.pid).children()
            worker.kill()
        assert first.wait() == 128 + signal.SIGKILL and not run.model.exists(), run.everything()
        run.let_go_on(1)
        assert run.start("again").wait() == 0, run.everything()
        assert (
            run.log("first").count('"loaded", "at_step": 20') == run.log("again").count('"at_step": 20,') == 1
        )
        assert run.model.exists()


def test_losses_of_other_machines_use_up_no_restart(corpus: Path, tmp_path: Path) -> None:
    losses, alone = (30, 50), (11, 31, 51)
    holds = [*((2, step) for step in losses), *((1, step) for step in alone)]
    with machines(tmp_path, corpus, holds, "--steps", "60", restarts=1) as run:
        first = run.start("first")
        for step in losses:
            second = run.start("second")
            run.until(step=step - 1, kept=step - 10, world=2)
            run.kill(second)
            run.let_go_on(2, step)
            run.until(step=step, kept=step - 10, world=2)
        run.let_go_on(1)
        assert first.wait() == 0 and run.model.exists(), run.everything()


def test_machines_that_do_not_divide_the_batch_share_it_unequally_and_learn_the_same(
    corpus: Path, tmp_path: Path
) -> None:
    with machines(tmp_path, corpus, [(1, 31)], "--steps", "60", "--batch", "3", restarts=0) as run:
        first = run.start("first")
        run.until(step=30, kept=20, world=1)
        second = run.start("second")
        assert (first.wait(), second.wait()) == (0, 0), run.everything()
        assert run.worlds() == {20: 1, 31: 1, 40: 2, 60: 2}
        log = tmp_path / "alone.log"
        with start([*run.arguments, "--checkpoints", ""], 1, log) as alone:
            alone.communicate()
        calm = {line["step"]: line["loss"] for line in lines(log.read_text())}
        assert max(abs(line["loss"] - calm[line["step"]]) for line in run.steps()) <= TOLERANCE


def test_a_run_without_its_meeting_place_ends_as_unavailable_and_goes_on_at_a_new_one(
    corpus: Path, tmp_path: Path
) -> None:
    with machines(tmp_path, corpus, [(1, 30)], "--steps", "50") as run:
        first = run.start("first")
        run.until(step=29, kept=20, world=1)
        run.meeting.kill()
        assert first.wait() == UNAVAILABLE, run.everything()
        assert "RendezvousConnectionError" in run.log("first"), run.everything()
        run.open_meeting_place()
        run.let_go_on(1)
        assert run.start("again").wait() == 0 and run.model.exists(), run.everything()
        # The launcher asked its worker to stop, which took the step that it was held before, and kept it.
        assert '"loaded", "at_step": 30,' in run.log("again"), run.everything()


def test_an_address_that_the_meeting_place_cannot_take_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "workloads.training.rendezvous", "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"port={port}: [Errno 98] Address already in use" in done.stderr and "--port 0" in done.stderr
