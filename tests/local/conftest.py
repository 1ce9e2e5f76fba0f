"""The stack that the tests of this folder use: interrupted, killed, brought up, and taken down at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local.clone import Clone, make_clone


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone in which nothing was ever up."""
    made = make_clone(tmp_path_factory.mktemp("clone"))
    try:
        yield made
    finally:
        made.run("./skerry", "down")
        for process in made.processes():
            process.kill()
