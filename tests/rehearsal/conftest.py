"""A user, and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rehearsal.caller import Caller, make_caller
from tools import processes


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    """A user of whose rehearsals nothing stays, not even when a test fails."""
    made = make_caller(tmp_path / "caller")
    try:
        yield made
    finally:
        processes.end(inside=made.temporary)
