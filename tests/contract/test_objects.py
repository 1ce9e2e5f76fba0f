"""What Kubernetes objects of every stack with clusters keep to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.clusters import STACKS, whole
from tests.recorder import Recording


@pytest.fixture(params=STACKS, ids=lambda path: path.name)
def recording(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return whole(path)


def test_a_pod_that_is_not_ready_never_blocks_the_drain_of_its_node(recording: Recording) -> None:
    budgets = recording.of(":PodDisruptionBudget")
    assert budgets
    for made in budgets:
        assert made.inputs["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", made.urn
