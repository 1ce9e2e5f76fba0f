import os
import re
import subprocess
import sys
from pathlib import Path

from tests.workloads.training.runs import ROOT


def test_the_commands_of_the_how_to_do_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "train-and-resume.md").read_text()
    prepare, stop, resume = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    said = []
    for command in (prepare, stop, resume):
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    assert '"at_step": 1,' in said[1] and '"loaded", "at_step": 1,' in said[2]
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()
