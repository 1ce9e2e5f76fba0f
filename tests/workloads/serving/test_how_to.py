import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.workloads.serving.serving import ROOT


def test_the_commands_of_the_how_to_publish_one_model_and_refuse_the_other(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "publish-a-model.md").read_text()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = [
        subprocess.run(
            ["bash", "-ec", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        for command in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    ]
    assert [done.returncode for done in ran] == [0, 0], ran[0].stderr + ran[1].stderr
    assert json.loads(ran[0].stdout)["quality"]["loss_percent"] < 1
    assert "cosine with the source went from 1.0000 to 0.9" in ran[1].stderr and ran[1].stdout == ""
    assert os.listdir(tmp_path / "out") == ["minilm"]
