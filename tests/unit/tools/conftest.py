"""What the set-up's tests share: a server, an empty Place for an engine, one virtual environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.tools.loopback import Site, serve
from tools.engine.way import Place
from tools.paths import ROOT


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as served:
        yield served


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("venv") / "workloads"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    return home


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An engine's place with pins of its own, and a PATH on which nothing is found."""
    pins = tmp_path / "pins"
    pins.mkdir()
    for name in ("go.mod", "go.sum", "requirements-go.txt"):
        (pins / name).write_bytes((ROOT / "tools/engine" / name).read_bytes())
    row = {"path": "v3.250.0/engine.tar.gz", "sha256": "0" * 64}
    rows = {"x86_64": row, "aarch64": row}
    # Port 9 of loopback: nobody answers there.
    releases = {"version": "v3.250.0", "site": "http://127.0.0.1:9", "archives": rows}
    (pins / "releases.json").write_text(json.dumps(releases))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return Place(made=tmp_path / "made", pins=pins, path=str(tmp_path / "bin"), mirror="")
