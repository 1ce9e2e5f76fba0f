"""Two workers, killed for real at drawn moments, lose nothing that was kept; the full form is `make bench-training`."""

from pathlib import Path

import pytest

from tests.workloads.training.kills import EVERY, LIFE, OF_STEPS, Job, changing, draw, run
from tests.workloads.training.lives import FLUSH

SEED, KILLS, STEPS = 34, 3, 80
TOLERANCE = 1e-3  # nats; sums over another number of workers are rounded otherwise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def calm(folder: Path, corpus: Path) -> Job:
    return run(folder / "calm", corpus, 2, [], STEPS)


def test_two_workers_that_are_killed_again_and_again_end_with_the_weights_of_a_calm_run(
    calm: Job, folder: Path, corpus: Path
) -> None:
    kills = draw(SEED, KILLS, workers=2)
    assert {kill["rank"] for kill in kills} == {0, 1}
    assert {kill["point"] in FLUSH for kill in kills} == {True, False}
    late = [kill for kill in kills[1:] if kill["point"] == OF_STEPS and kill["occurrence"] > 2 * EVERY + 2]
    assert late, "the life after it has two whole checkpoints to choose from"
    job = run(folder / "killed", corpus, 2, kills, STEPS)
    assert (calm.code, job.code, job.kills()) == (0, 0, KILLS), job.log
    assert len(job.lost()) == KILLS and max(job.lost()) <= 2 * EVERY, (
        "an interval, and what was being written"
    )
    assert job.model.read_bytes() == calm.model.read_bytes()


def test_a_run_that_goes_on_with_another_number_of_workers_has_the_same_losses(
    calm: Job, folder: Path, corpus: Path
) -> None:
    job = changing(folder / "changing", corpus, SEED, (2, 1, 2), STEPS)
    assert (calm.code, job.code, job.kills()) == (0, 0, 2), job.log
    worlds = [line["world_size"] for kind, line in job.told() if kind == LIFE]
    assert worlds == [2, 1, 2] and len(job.lost()) == 2 and max(job.lost()) <= 2 * EVERY
    [calm_losses, losses] = calm.losses(), job.losses()
    assert set(losses) == set(calm_losses) == set(range(1, STEPS + 1))
    gaps = {step: max(abs(one - calm_losses[step][0]) for one in losses[step]) for step in losses}
    assert max(gaps.values()) <= TOLERANCE, gaps
