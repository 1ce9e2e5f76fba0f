"""`python3 -m tools.setup` and the files at the root that call it."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from pathlib import Path

from tests.waiting import HANG_SECONDS
from tools import setup
from tools.paths import MADE, ROOT


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*arguments], cwd=cwd, capture_output=True, text=True)


def test_a_set_up_with_nothing_to_do_says_nothing() -> None:
    done = run(sys.executable, "-m", "tools.setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_part_that_does_not_exist_is_refused_with_the_ones_that_do() -> None:
    done = run(sys.executable, "-m", "tools.setup", "kitchen")
    assert done.returncode == 2
    assert "no part 'kitchen'; the parts are toolkit, workloads, engine" in done.stderr


def test_a_second_set_up_waits_for_the_first() -> None:
    code = "from tools.setup import alone\nwith alone(): print('mine')"
    with (MADE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr and "waiting for it" in second.stderr.readline()
        assert second.poll() is None
        fcntl.flock(held, fcntl.LOCK_UN)
        assert second.communicate(timeout=HANG_SECONDS)[0] == "mine\n"


def test_the_doctor_runs_from_any_folder_before_anything_is_installed(tmp_path: Path) -> None:
    link = tmp_path / "skerry"
    link.symlink_to(ROOT / "skerry")
    done = run(str(link), "doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "this machine is ready" in done.stdout


def test_make_without_a_target_lists_every_target_with_a_line() -> None:
    targets = re.findall(r"(?m)^([a-z-]+):.*##", (ROOT / "Makefile").read_text())
    phony = re.findall(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text())[0].split()
    assert sorted(targets) == sorted(phony)
    listed = run("make").stdout
    assert all(re.search(rf"(?m)^  make {target} +\S", listed) for target in targets)


def test_the_parts_are_installed_in_an_order_that_names_each_once() -> None:
    assert setup.missing(()) == []
    assert sorted(setup.PARTS) == ["engine", "toolkit", "workloads"]
