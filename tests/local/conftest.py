"""The stack that the tests of this folder use: interrupted, killed, brought up, and taken down at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.local.provider.supervisor import Supervisor
from tests.local.clone import Clone, make_clone
from tests.local.plugin import Plugin, running_plugin


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


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    with running_plugin(tmp_path) as started:
        try:
            yield started
        finally:
            for folder in (tmp_path / ".skerry" / "run").glob("*"):
                Supervisor(folder, tmp_path).shut_down()
