"""The commands of the pages about published models, as a reader runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.ports import free_port
from tests.workloads.serving.serving import ROOT


def do(page: str, folder: Path, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the page's blocks one after the other in this folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return [
        subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        for command in re.findall(
            r"```bash\n(.*?)```", (ROOT / "docs" / "how-to" / page).read_text(), re.DOTALL
        )
    ]


def test_the_commands_of_the_how_to_publish_one_model_and_refuse_the_other(tmp_path: Path) -> None:
    ran = do("publish-a-model.md", tmp_path)
    assert [done.returncode for done in ran] == [0, 0], ran[0].stderr + ran[1].stderr
    assert json.loads(ran[0].stdout)["quality"]["loss_percent"] < 1
    assert "cosine with the source went from 1.0000 to 0.9" in ran[1].stderr and ran[1].stdout == ""
    assert os.listdir(tmp_path / "out") == ["minilm"]


def test_a_model_is_served_with_keys_tokens_and_beside_another_as_the_how_to_says(tmp_path: Path) -> None:
    ran = do("serve-with-keys-and-limits.md", tmp_path, PORT=str(free_port()))
    assert [done.returncode for done in ran] == [0] * 4, "".join(done.stderr for done in ran)
    keys, tokens, several = (done.stdout for done in ran[1:])
    assert re.findall(r"^\d{3}$", keys, re.MULTILINE) == ["401", "200", "200", "429"]
    assert '"id":"tiny"' in tokens
    assert re.findall(r'"model":"(\w+)"', several) == ["small", "large"]


def test_a_served_model_is_watched_as_the_how_to_says_and_every_metric_of_ours_is_on_the_page(
    tmp_path: Path,
) -> None:
    ran = do("watch-a-served-model.md", tmp_path, PORT=str(free_port()))
    assert [done.returncode for done in ran] == [0, 0], "".join(done.stderr for done in ran)
    told = set(re.findall(r"^# TYPE (\S+)", (tmp_path / "out" / "metrics.txt").read_text(), re.MULTILINE))
    page = (ROOT / "docs" / "how-to" / "watch-a-served-model.md").read_text()
    ours = {name for name in told if name.startswith(("skerry", "gen_ai")) and not name.endswith("_created")}
    assert len(ours) > 15 and {name for name in ours if f"`{name}`" not in page} == set()
