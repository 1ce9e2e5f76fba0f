"""`make sabotage` believes only a test that was green and turned red by the breakage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.tools.toy_tree import commit_with_environment
from tools import processes
from tools.sabotage import (
    TIMED_OUT,
    Breakage,
    a_copy,
    changed_since,
    choose,
    files_of,
    read,
    reported_red,
    run_test,
    sabotage,
)

CODE = "LIMIT = 3\n\n\ndef double(x):\n    return x * 2\n"
TESTS = """
from code_under_test import double


def test_it_doubles():
    assert double(4) == 8


def test_it_says_nothing():
    pass


def test_it_is_red_already():
    assert double(1) == 3
"""
GOOD = Breakage("good", "code_under_test.py", "x * 2", "x * 3", "test_it.py::test_it_doubles")


@pytest.fixture(autouse=True)
def _lean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small runs below need no plugins, and start faster without."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of two files, with an environment to run its tests in."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "code_under_test.py").write_text(CODE)
    (root / "test_it.py").write_text(TESTS)
    (root / ".gitignore").write_text(".tools\nignored.txt\n")
    (root / "ignored.txt").write_text("x")
    commit_with_environment(root, f'echo run >> "{tmp_path}/runs"')
    return root


def runs(tree: Path) -> int:
    file = tree.parent / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_breakage_that_its_test_notices_passes_and_leaves_the_tree_alone(tree: Path) -> None:
    assert sabotage(tree, tree / ".tools", [GOOD]) == []
    assert (tree / "code_under_test.py").read_text() == CODE
    assert runs(tree) == 2, "once unbroken, once broken"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": "test_it.py::test_it_says_nothing"}, "SURVIVED"),
        ({"find": "not there"}, "find occurs 0 times"),
        ({"find": "x"}, "find occurs 2 times"),
        ({"file": "nowhere.py"}, "nowhere.py does not exist"),
        ({"test": "test_it.py::test_it_is_red_already"}, "is not green on the unbroken tree"),
        ({"test": "test_it.py::test_that_nobody_wrote"}, "is not green on the unbroken tree"),
    ],
)
def test_what_shows_nothing_fails_the_run(
    tree: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], words: str
) -> None:
    row = Breakage(**{**GOOD.__dict__, **change})
    assert sabotage(tree, tree / ".tools", [row]) == ["good"]
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"find": "def double(x):", "replace": "def double(x)"}, "cannot be imported"),
        (
            {"file": "test_it.py", "find": "def test_it_doubles", "replace": "def test_that"},
            "finds no such test",
        ),
        ({"find": "return x * 2", "replace": "import os; os.kill(os.getpid(), 9)"}, "pytest was killed"),
    ],
)
def test_a_breakage_under_which_the_test_never_failed_is_a_fault_of_the_list(
    tree: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], words: str
) -> None:
    row = Breakage(**{**GOOD.__dict__, **change})
    assert sabotage(tree, tree / ".tools", [row]) == ["good"]
    told = capsys.readouterr().out
    assert words in told and "make another breakage" in told


LEAVES = """
import subprocess, sys

def test_it_leaves_a_process_that_holds_its_output():
    ended = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd="/")
    open("left", "w").write(str(ended.pid))
"""


def test_what_a_test_leaves_running_is_ended_and_not_waited_for(tree: Path) -> None:
    (tree / "test_it.py").write_text(LEAVES)
    row = Breakage("left", "", "", "", "test_it.py::test_it_leaves_a_process_that_holds_its_output")
    with a_copy(tree) as copy:
        status, output = run_test(copy, row, tree / ".tools")
        assert status == 0, output
        assert int((copy / "left").read_text()) not in processes.found()
        assert processes.found(inside=copy.parent) == {}
    assert not copy.parent.exists()


def test_a_run_past_the_limit_shows_nothing_by_itself(tree: Path) -> None:
    (tree / "test_it.py").write_text("import time\n\ndef test_it_hangs():\n    time.sleep(600)\n")
    with a_copy(tree) as copy:
        row = Breakage("hangs", "", "", "", "test_it.py::test_it_hangs")
        status, output = run_test(copy, row, tree / ".tools", limit_s=1)
        assert (status, processes.found(inside=copy.parent)) == (TIMED_OUT, {}) and "ran past 1 s" in output


def test_a_run_past_the_limit_is_red_where_the_test_had_been_reported_as_failed() -> None:
    for line, red in (
        ("test_it.py::test_x FAILED [ 50%]", True),
        ("test_it.py::test_x[a b] ERROR    [100%]", True),
        ("test_it.py::test_x PASSED [ 50%]", False),
        ("test_it.py::test_xy FAILED [ 50%]", False),
        ("E   test_it.py::test_x FAILED", False),
    ):
        assert reported_red("test_it.py::test_x", f"collected 2 items\n\n{line}\n") is red, line


def test_breakages_that_are_tried_side_by_side_are_told_apart(tree: Path) -> None:
    survivor = replace(GOOD, name="survivor", test="test_it.py::test_it_says_nothing")
    rows = [GOOD, survivor, replace(GOOD, name="again")]
    assert sabotage(tree, tree / ".tools", rows, jobs=3) == ["survivor"]
    before = runs(tree)
    assert sabotage(tree, tree / ".tools", [GOOD, rows[2]], jobs=3) == [] and runs(tree) == before


def test_what_passed_is_remembered_until_the_tree_changes(tree: Path) -> None:
    sabotage(tree, tree / ".tools", [GOOD])
    before = runs(tree)
    assert sabotage(tree, tree / ".tools", [GOOD]) == []
    assert runs(tree) == before
    (tree / "code_under_test.py").write_text(CODE + "OTHER = 1\n")
    assert sabotage(tree, tree / ".tools", [GOOD]) == []
    assert runs(tree) == before + 2


def test_since_takes_only_breakages_whose_file_or_test_changed(tree: Path) -> None:
    other = Breakage("other", "new.py", "a", "b", "test_other.py::test_x")
    assert choose([GOOD, other], None, changed_since(tree, "HEAD")) == []
    (tree / "test_it.py").write_text(TESTS + "\n")
    assert choose([GOOD, other], None, changed_since(tree, "HEAD")) == [GOOD]
    (tree / "new.py").write_text("a")
    assert choose([GOOD, other], None, changed_since(tree, "HEAD")) == [GOOD, other]
    assert choose([GOOD, other], "other", None) == [other]


def test_a_list_with_a_mistake_is_refused_with_its_words(tmp_path: Path) -> None:
    row = '[[breakage]]\nname="a"\nfile="f"\nfind="x"\nreplace="y"\ntest="t"\n'
    file = tmp_path / "sabotage.toml"
    for text, words in (
        (row + row, "listed twice"),
        (row + 'env="cellar"\n', "must be one of toolkit, workloads"),
        (row.replace('"y"', '"x"'), "nothing would break"),
    ):
        file.write_text(text)
        with pytest.raises(SystemExit, match=words):
            read(file)


def test_ignored_files_are_not_copied_and_new_ones_are(tree: Path) -> None:
    (tree / "new.py").write_text("")
    assert files_of(tree) == [".gitignore", "code_under_test.py", "new.py", "test_it.py"]
