"""The contract's tests run once for every target."""

from __future__ import annotations

import pytest

from tests.contract.targets import TARGETS, Case


@pytest.fixture(params=TARGETS)
def case(request: pytest.FixtureRequest) -> Case:
    return TARGETS[request.param]
