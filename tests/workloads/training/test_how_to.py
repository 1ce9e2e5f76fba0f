import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.workloads.training.runs import ROOT
from workloads.manifest import manifest_digest


def do(page: str, folder: Path) -> list[str]:
    """Run the page's blocks one after the other in this folder; what each said on stderr."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    said = []
    for command in re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "how-to" / page).read_text(), re.DOTALL):
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    return said


def test_the_commands_of_the_how_to_do_what_it_says(tmp_path: Path) -> None:
    _, stop, resume = do("train-and-resume.md", tmp_path)
    assert '"at_step": 1,' in stop and '"loaded", "at_step": 1,' in resume
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()


def test_a_run_is_watched_and_drawn_as_the_how_to_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    lines, _, _ = do("watch-a-run.md", tmp_path)
    assert '"at_step": 20, "bits_per_byte"' in lines
    assert (tmp_path / "out" / "run.svg").stat().st_size > 10_000


def test_a_model_is_cut_over_two_workers_and_fine_tuned_as_the_how_to_says(tmp_path: Path) -> None:
    do("large-models-and-fine-tuning.md", tmp_path)
    records = [
        json.loads((tmp_path / "out" / name / "record.json").read_text()) for name in ("base", "tuned")
    ]
    assert [record["world_size"] for record in records] == [2, 1]
    assert records[1]["init_digest"] == manifest_digest(tmp_path / "out" / "base")
