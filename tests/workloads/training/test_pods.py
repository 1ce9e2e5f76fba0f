"""The commands of a Job, run as they are rendered: nodes that come late, that go, and a store that is lost."""

import time
from pathlib import Path

from tests.workloads.training.pods import SCALE, pods
from workloads.training.torchrun import UNAVAILABLE

TORCH_JOIN, TORCH_READ = 600 / SCALE, 60 / SCALE
"""Seconds after which torch's own defaults give up: waiting for a worker, and for the store."""


def test_a_pod_that_waits_for_the_store_and_then_for_the_other_pod_does_not_count_as_failed(
    corpus: Path, tmp_path: Path
) -> None:
    with pods(tmp_path, corpus, [(1, 10)], 30) as run:
        run.start(1)
        run.until(lambda: len(run.ends) == 2)
        assert run.ends == [(1, UNAVAILABLE, "Ignore")] * 2, run.everything()
        run.start_store()
        run.until(lambda: '"step": 9,' in run.log("pod-1"))
        late = time.monotonic() + 3 * max(TORCH_JOIN, TORCH_READ)
        run.until(lambda: time.monotonic() > late)
        run.start(0)
        run.until(lambda: run.complete)
        assert (tmp_path / "model" / "model.safetensors").exists()
        assert run.counted == [], run.everything()


def test_a_run_that_loses_pod_0_five_times_ends_with_its_model_and_no_end_counts(
    corpus: Path, tmp_path: Path
) -> None:
    losses = (20, 40, 60, 80, 100)
    alone = [(1, 5), *((1, step + 1) for step in losses)]
    with pods(tmp_path, corpus, [*((2, step) for step in losses), *alone], 110) as run:
        run.start_store()
        for index in (0, 1):
            run.start(index)
        other = run.running[1]
        for step in losses:
            run.until_step(step - 1, world=2)
            run.lose(0)
            run.let_go_on(2, step)
            run.start(0)
        run.until(lambda: run.complete)
        assert (tmp_path / "model" / "model.safetensors").exists()
        assert [end for end in run.ends if end[2] != "Count"] == [(0, 137, "Ignore")] * len(losses)
        assert run.counted == [], run.everything()
        assert run.running.get(1, other) is other, "the other pod was never replaced"


def test_a_run_that_loses_its_store_goes_on_from_its_last_checkpoint_and_no_end_counts(
    corpus: Path, tmp_path: Path
) -> None:
    with pods(tmp_path, corpus, [(1, 5), (2, 25)], 40) as run:
        run.start_store()
        for index in (0, 1):
            run.start(index)
        run.until_step(24, world=2)
        run.lose_store()
        run.until(lambda: len(run.ends) >= 2)
        run.start_store()
        run.let_go_on(1)
        run.let_go_on(2)
        run.until(lambda: run.complete)
        assert (tmp_path / "model" / "model.safetensors").exists()
        assert {end[1] for end in run.ends} == {UNAVAILABLE, 0} and run.counted == [], run.everything()
        assert '"loaded", "at_step": 2' in run.everything()
