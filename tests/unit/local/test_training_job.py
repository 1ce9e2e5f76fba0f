"""What a training run on this machine is run again for."""

from __future__ import annotations

from typing import Any

from components.local.training_job import LocalTrainingJob
from tests.recorder import record
from tests.stand_ins import StandIns


def key_of(attempt: int) -> Any:
    """What the digest of the run's Task covers beside its sources."""

    def program() -> None:
        sizes: Any = {"workers": 2, "threads": 1, "steps": 10, "seed": 3, "attempt": attempt}
        LocalTrainingJob("coder", sizes | {"output_parent": "file:///out"})

    (task,) = record(program, StandIns()).of(":Task")
    return task.inputs["key"]


def test_another_attempt_runs_the_task_again_and_the_first_one_changes_no_key() -> None:
    assert key_of(1) == {"workers": 2, "steps": 10, "seed": 3}
    assert key_of(2) == {**key_of(1), "attempt": 2}
