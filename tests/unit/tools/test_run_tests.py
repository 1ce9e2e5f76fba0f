"""The count of `make test` hides nothing: what was not really run fails the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import HANG_SECONDS, until
from tools import run_tests
from tools.paths import ROOT
from tools.run_tests import Tally, judge, modules_with_tests, run_suite, suites, summary

PASSES = "def test_it_holds():\n    assert True\n"


@pytest.fixture(autouse=True)
def _lean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small runs below need no plugins, and start faster without."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def tally_of(root: Path, files: dict[str, str], *arguments: str) -> Tally:
    """What running these files under tests/ counts to."""
    for name, text in files.items():
        (root / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "tests" / name).write_text(text)
    (root / "pytest.ini").write_text("[pytest]\n")
    return run_suite("small", Path(sys.executable), [*arguments, "tests"], root, root / "reports")


def faults(root: Path, files: dict[str, str], *arguments: str) -> list[str]:
    return judge(tally_of(root, files, *arguments), modules_with_tests(root))


def test_a_run_in_which_everything_passes_has_no_fault_and_ends_with_the_plain_line(tmp_path: Path) -> None:
    tally = tally_of(tmp_path, {"test_a.py": PASSES, "deep/b_test.py": PASSES})
    assert judge(tally, modules_with_tests(tmp_path)) == []
    assert summary(tally).splitlines() == [
        "collected 2, passed 2, skipped 0, xfailed 0, deselected 0, rerun 0",
        "2 passed, 0 failed",
    ]
    assert (tmp_path / "reports/small.xml").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def test_x(): assert False\n", "1 failed"),
        ("import pytest\n@pytest.fixture\ndef f(): raise OSError\ndef test_x(f): pass\n", "1 failed"),
        (
            "import pytest\n@pytest.fixture\ndef f():\n  yield\n  raise OSError\ndef test_x(f): pass\n",
            "1 failed",
        ),
        ("import pytest\n@pytest.mark.skip\ndef test_x(): pass\n", "1 skipped"),
        ("import pytest\npytest.skip('no', allow_module_level=True)\n", "1 skipped"),
        ("import pytest\n@pytest.mark.xfail\ndef test_x(): assert False\n", "1 xfailed"),
        ("import pytest\n@pytest.mark.xfail\ndef test_x(): assert True\n", "1 xpassed"),
        ("import nothing_of_the_kind\ndef test_x(): pass\n", "tests/test_b.py cannot be collected"),
        (
            "import os\ndef test_x(): os._exit(0)\n",
            "pytest in the small environment ended with 0 and no counts",
        ),
    ],
)
def test_what_is_not_a_pass_fails_the_run(tmp_path: Path, text: str, fault: str) -> None:
    assert fault in faults(tmp_path, {"test_a.py": PASSES, "test_b.py": text})


def test_the_end_of_a_run_names_each_failed_test_where_it_failed_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "def test_red():\n    assert 'what came' == 'what was due'\n"
    told = tally_of(tmp_path, {"test_a.py": PASSES, "test_b.py": text})
    monkeypatch.setattr(run_tests, "run_suites", lambda *_: told)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    capsys.readouterr()
    assert run_tests.main(["tests/unit"]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"failed: tests/test_b.py::test_red: call, {tmp_path}/tests/test_b.py:2: ")
    assert "'what came' == 'what was due'" in first


def test_a_deselected_test_fails_the_run(tmp_path: Path) -> None:
    both = {"test_a.py": PASSES + "def test_other():\n    pass\n"}
    assert "1 deselected" in faults(tmp_path, both, "-k", "other")


def test_a_run_that_stops_early_counts_what_did_not_run(tmp_path: Path) -> None:
    found = faults(tmp_path, {"test_a.py": "def test_x(): assert False\n", "test_b.py": PASSES}, "-x")
    assert "1 failed" in found and "1 not run" in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("helpers.py", PASSES),
        ("test_empty.py", ""),
        ("checks.py", "class TestIt:\n    async def test_x(self): pass\n"),
    ],
)
def test_a_module_whose_tests_pytest_never_sees_fails_the_run(tmp_path: Path, name: str, text: str) -> None:
    found = faults(tmp_path, {"test_a.py": PASSES, name: text})
    assert found == [f"tests/{name} holds no test that was collected"]


def test_a_run_without_any_test_fails() -> None:
    assert judge(Tally(), set()) == ["no test was collected"]


def test_code_that_only_stands_in_a_string_is_not_taken_for_a_test(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/helper.py").write_text(f"TEXT = '''\n{PASSES}'''\n")
    assert modules_with_tests(tmp_path) == set()


def test_the_tests_of_the_workloads_run_in_their_own_environment_and_only_there() -> None:
    everything = {name: words for name, _, words in suites([])}
    others = ("workloads", "local", "rehearsal")
    assert everything["toolkit"] == ["tests", *(f"--ignore=tests/{name}" for name in others)]
    assert (everything["local"], everything["rehearsal"]) == (["tests/local"], ["tests/rehearsal"])
    lives = everything["lives"]
    assert all((ROOT / path).exists() for path in lives)
    elsewhere = [f"--ignore={path}" for path in ("tests/workloads/serving", *lives)]
    assert everything["training"] == ["tests/workloads", *elsewhere]
    assert everything["serving"] == ["tests/workloads/serving"]
    assert [name for name, _, _ in suites(["tests/workloads/training", "-x"])] == ["workloads"]
    assert [name for name, _, _ in suites(["tests/unit/tools"])] == ["toolkit"]


def test_a_subset_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    command = [sys.executable, "-m", "tools.run_tests", "tests/unit/tools/test_lock.py", "-k", "gone"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "a subset (tests/unit/tools/test_lock.py -k gone)" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"


def test_what_the_tests_write_lies_in_a_folder_of_this_run_that_is_kept_only_when_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    body = (
        "import tempfile\ndef test_a(tmp_path): (tmp_path / 'file').touch()\n"
        "def test_left(): tempfile.mkdtemp('left')\ndef test_b(): assert {}\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "temporary").mkdir()
    small = [f"-c{tmp_path}/pytest.ini", str(tmp_path / "tests")]
    monkeypatch.setattr(run_tests, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(run_tests, "suites", lambda _: [("toolkit", Path(sys.executable), small)])
    for holds in (True, False):
        (tmp_path / "tests/test_x.py").write_text(body.format(holds))
        assert run_tests.main(["tests"]) == (0 if holds else 1)
        all_of_it = list((tmp_path / "temporary").iterdir())
        for kept in ("skerry-tests-*/0/p/test_a0/file", "skerry-tests-*/0/t/*left"):
            found = list((tmp_path / "temporary").glob(kept))
            assert len(found) == len(all_of_it) == (0 if holds else 1)
        assert ("is kept in" in capsys.readouterr().out) is not holds


LEAVES = """
import os, pathlib, subprocess, time
def test_x():
    far = subprocess.Popen(["setsid", "sh", "-c", "sleep 6000 & wait"])
    pathlib.Path({0!r}).write_text(f"{{os.getpid()}} {{far.pid}}\\n")
    while {1}: time.sleep(0.01)
"""
RUN = "import sys\nfrom pathlib import Path\nfrom tools import run_tests\nroot = Path(sys.argv[1])\n"
RUN += "run_tests.REPORTS = root / 'reports'\n"
RUN += "run_tests.run_suites([('one', Path(sys.executable), [str(root)])], root / 'scratch')\n"


def heeding_interrupts() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and so do all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_or_is_interrupted_or_killed_leaves_no_process(
    tmp_path: Path, end: signal.Signals | None
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "test_it.py").write_text(LEAVES.format(str(mark), end is not None))
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        preexec_fn=heeding_interrupts,
    ) as run:
        below: list[psutil.Process] = []
        if end is not None:
            until(lambda: mark.exists() and mark.read_text().endswith("\n"))
            below = psutil.Process(run.pid).children(recursive=True)
            assert len(below) >= 4
            # As a terminal does, or the kernel when memory runs out.
            (os.killpg if end == signal.SIGINT else os.kill)(run.pid, end)
        try:
            run.wait(HANG_SECONDS)
        finally:
            run.kill()
    pids = [int(pid) for pid in mark.read_text().split()] + [process.pid for process in below]
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_suites_that_run_side_by_side_are_counted_together_and_their_lines_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    # Each waits for the other: one after the other, neither would end well.
    body = (
        "import pathlib, time\ndef test_x():\n    pathlib.Path({0!r}).touch()\n    ends = time.time() + 900\n"
    )
    body += "    while not pathlib.Path({1!r}).exists():\n        assert time.time() < ends\n        time.sleep(0.01)\n"
    marks = [str(tmp_path / name) for name in ("one", "two")]
    (tmp_path / "test_one.py").write_text(body.format(*marks))
    (tmp_path / "test_two.py").write_text(body.format(*reversed(marks)) + "def test_y(): assert False\n")
    monkeypatch.setattr(run_tests, "REPORTS", tmp_path / "reports")
    config = f"-c{tmp_path}/pytest.ini"
    chosen = [
        (name, Path(sys.executable), [config, str(tmp_path / f"test_{name}.py")]) for name in ("one", "two")
    ]
    tally = run_tests.run_suites(chosen, tmp_path / "scratch")
    assert (tally.collected, tally.counts["passed"], tally.counts["failed"]) == (3, 2, 1)
    assert judge(tally, None) == ["1 failed"]
    shown = capfd.readouterr().out.splitlines()
    assert any(line.startswith("one       | ") and "1 passed" in line for line in shown)
    assert any(line.startswith("two       | ") and "1 failed" in line for line in shown)


def test_a_whole_run_says_first_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert run_tests.main([]) == 1
    assert "about half an hour" in capsys.readouterr().out.splitlines()[0]
