"""What `make fresh-check` itself relies on (the check as a whole takes half an hour)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.loopback import executable
from tests.waiting import HANG_SECONDS, wait_until
from tools import fresh_check, processes
from tools.paths import ROOT


def test_a_process_left_running_in_the_clone_is_found_by_its_command(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6000)"], cwd=tmp_path)
    try:
        # For a moment after its start a process has no command yet.
        assert wait_until(lambda: left.pid in processes.found(os.getuid(), tmp_path))
        found = processes.found(os.getuid(), tmp_path)
        assert list(found) == [left.pid] and "time.sleep(6000)" in found[left.pid]
        assert left.pid in processes.found(os.getuid())
        assert left.pid not in processes.found(os.getuid() + 1)
        assert processes.found(os.getuid(), tmp_path / "elsewhere") == {}
    finally:
        left.kill()
        left.wait()


def test_a_go_that_a_newcomer_could_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "go", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: 0)
    tmp_path.chmod(0o700)
    with pytest.raises(SystemExit, match="closed to other users"):
        fresh_check.path_with_go(True)


def test_the_run_without_go_has_none_on_its_path() -> None:
    path = fresh_check.path_with_go(False)
    assert not [folder for folder in path.split(":") if (Path(folder) / "go").exists()]


def test_nothing_of_the_callers_clouds_or_pulumi_is_carried_along() -> None:
    assert not [
        name for name in fresh_check.CARRIED if name.startswith(("AWS", "GOOGLE", "PULUMI", "SKERRY"))
    ]


def test_the_requests_of_the_readme_are_found_whole_and_a_shell_can_read_them() -> None:
    blocks = fresh_check.curl_blocks((ROOT / "README.md").read_text())
    assert len(blocks) >= 2
    for block in blocks:
        told = subprocess.run(["sh", "-n", "-c", block], capture_output=True, text=True)
        assert "```" not in block and (told.returncode, told.stderr) == (0, "")
    assert fresh_check.curl_blocks("```bash\nmake up\n```\n\n```bash\ncurl a \\\n  b\n```\n") == [
        "curl a \\\n  b\n"
    ]


@pytest.mark.parametrize("stdout", ["", "{}", "[]", "null", 'setting up\n{"a": 1}', '{"a": 1}\ndone'])
def test_outputs_beside_which_anything_else_is_printed_are_a_fault(stdout: str) -> None:
    assert fresh_check.not_outputs('{"a": 1}\n') == ""
    assert fresh_check.not_outputs(stdout)


@pytest.mark.parametrize("stdout", ["", "[]", '{"choices": []}', '{"error": "x"}', "no healthy upstream"])
def test_an_answer_without_choices_is_a_fault(stdout: str) -> None:
    assert fresh_check.not_an_answer('{"choices": [{"text": "x"}]}') == ""
    assert fresh_check.not_an_answer(stdout)


def test_what_a_user_leaves_in_the_temporary_folder_is_found_also_below_folders_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("others/theirs/deep", "theirs", "others/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    mine = os.getuid()
    real = Path.lstat

    def owned(path: Path) -> os.stat_result:
        found = real(path)
        owner = mine + 1 if "theirs" in path.name else mine
        return os.stat_result([*found[:4], owner, *found[5:10]])

    monkeypatch.setattr(Path, "lstat", owned)
    left = fresh_check.files_of(mine + 1, tmp_path)
    monkeypatch.undo()
    assert left == [tmp_path / "others/theirs", tmp_path / "theirs"]


def test_runs_of_the_variants_end_up_in_one_file_and_a_quick_one_displaces_no_whole_one(
    tmp_path: Path,
) -> None:
    results = tmp_path / "results/fresh_check.json"
    for variant, quick, seconds in (("go", False, 5.0), ("nogo", False, 7.0), ("go", True, 1.0)):
        check = fresh_check.Check(variant, quick)
        check.seconds["make up"] = seconds
        fresh_check.keep(check.record(), results)
    kept = json.loads(results.read_text())
    assert {name: row["seconds"]["make up"] for name, row in kept.items()} == {
        "go": 5.0,
        "nogo": 7.0,
        "go-quick": 1.0,
    }
    assert set(kept["go"]) >= {"date", "commit", "processor", "cores", "variant", "seconds"}


def test_the_table_of_times_has_a_row_for_every_step_of_any_variant() -> None:
    go = {"variant": "go", "seconds": {"make up": 61.5, "make down": 9.0}}
    nogo = {"variant": "nogo", "seconds": {"make up": 300.0}}
    assert [line.split() for line in fresh_check.table([go, nogo]).splitlines()] == [
        ["seconds", "go", "nogo"],
        ["make", "up", "61.5", "300.0"],
        ["make", "down", "9.0", "-"],
    ]


STOPPED = """
import os, subprocess
from tools import fresh_check

class Endless(fresh_check.Check):
    def follow(self, home, as_user, temporary):
        print(home, temporary, flush=True)
        subprocess.run(["sh", "-c", "sleep 600 & wait"], cwd=home)

os.getuid = lambda: 12345  # not root, whoever runs this test
fresh_check.Check = Endless
fresh_check.main(["--only", "nogo"])
"""


def test_a_check_that_is_stopped_takes_the_newcomer_and_their_processes_along() -> None:
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as check:
        assert check.stdout is not None
        check.stdout.readline()  # who it runs as
        home, temporary = map(Path, check.stdout.readline().split())
        assert wait_until(lambda: "sleep 600" in processes.found(inside=home).values())
        check.send_signal(signal.SIGTERM)
        assert check.wait(HANG_SECONDS) == 143
    assert processes.found(inside=home) == {}
    assert not home.exists() and not temporary.exists()


MAKEFILE = """
up:
\t@mkdir -p .skerry/state
\t@{up}
outputs:
\t@{outputs}
down:
\t@{down}
"""
RIGHT = {"up": "true", "outputs": """echo '{"endpoint": "x"}'""", "down": "true"}


@pytest.mark.parametrize(
    ("step", "script", "fault"),
    [
        ("up", "true", ""),
        ("up", "exit 3", "make up ended with 2"),
        ("up", "touch new", "not clean after make up: ?? new"),
        ("outputs", "echo hello", "make outputs: stdout is not JSON alone"),
        ("outputs", """echo '{"broken": 1}'; echo no > ../reply""", "README's curl 1: no `choices`"),
        ("down", "touch $$TMPDIR/left", "left after make down: {temporary}/left"),
        ("down", "mkdir .skerry/run", "left after make down: .skerry/run"),
        ("down", "(sleep 600 > /dev/null 2>&1 &)", "left running after make down"),
    ],
)
def test_a_clone_is_followed_through_the_readme_and_each_fault_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, script: str, fault: str
) -> None:
    root, home, temporary = tmp_path / "root", tmp_path / "home", tmp_path / "temporary"
    for folder in (root, home, temporary):
        folder.mkdir()
    (root / "Makefile").write_text(MAKEFILE.format(**{**RIGHT, step: script}))
    (root / "README.md").write_text("```bash\ncurl -s http://somewhere\n```\n")
    (root / ".gitignore").write_text(".skerry\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=root, check=True)
    (home / "reply").write_text('{"choices": ["x"]}')
    executable(tmp_path / "bin/curl", f"cat {home}/reply\n")
    monkeypatch.setattr(fresh_check, "ROOT", root)
    monkeypatch.setattr(fresh_check, "path_with_go", lambda _: f"{tmp_path}/bin:{os.environ['PATH']}")
    check = fresh_check.Check("nogo", quick=True)
    try:
        check.follow(home, [], temporary)
    finally:
        processes.end(home)
    assert list(check.seconds) == ["make up", "make outputs", "README's curl 1", "make down"]
    assert len(check.faults) == (1 if fault else 0)
    assert fault.format(temporary=temporary) in " ".join(check.faults)
    assert check.record()["passed"] is not bool(fault)
