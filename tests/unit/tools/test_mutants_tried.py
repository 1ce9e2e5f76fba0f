"""`make mutants` asks the tests that run a mutant's line, and only them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import coverage
import pytest
from coverage.exceptions import DataError

from tests.unit.tools.toy_tree import commit_with_environment
from tests.waiting import wait_until
from tools.mutants import attempt
from tools.mutants.__main__ import mutants
from tools.mutants.draw import draw
from tools.mutants.trace import SETTINGS
from tools.paths import ROOT

CODE = """
LIMIT = 3


def double(x):
    return x * 2


def waits(x):
    while x < 5:
        x += 1
    return x


def unseen():
    return 7
"""
PROGRAM = "print(12)\n"
TESTS = """
import functools
import subprocess
import sys
from pathlib import Path

import pytest
from coverage.exceptions import DataError

from components import code

RUNS = Path({runs!r})


@pytest.fixture(autouse=True)
def _run(request):
    with RUNS.open("a") as file:
        file.write(request.node.name + "\\n")


@pytest.fixture(scope="module")
def shared():
    return code.double(4)


def test_uses_the_fixture_first(shared):
    pass


def test_doubles(shared):
    assert shared == 8


@functools.cache
def waited():
    return code.waits(0)


def test_remembers_first():
    waited()


def test_waits():
    assert waited() == 5


def test_limit():
    assert code.LIMIT == 3


def test_program():
    done = subprocess.run([sys.executable, "components/program.py"], capture_output=True, text=True)
    assert done.stdout == "12\\n"


def test_red_already():
    assert code.unseen() == 8
"""


@pytest.fixture(autouse=True)
def _lean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small runs below need no plugins, and start faster without."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a module, a program and their tests, and an environment to run them in."""
    root = tmp_path / "tree"
    for folder in ("components", "tests/unit"):
        (root / folder).mkdir(parents=True)
    for package in ("components", "tests", "tests/unit"):
        (root / package / "__init__.py").write_text("")
    (root / "components/code.py").write_text(CODE)
    (root / "components/program.py").write_text(PROGRAM)
    (root / "tests/unit/test_code.py").write_text(TESTS.format(runs=str(tmp_path / "runs")))
    (root / "tests/mutants.toml").write_text("")
    (root / ".gitignore").write_text(".tools\n")
    commit_with_environment(root)
    return root


def change(tree: Path, old: str, new: str) -> None:
    """Change the code, so that `since` draws from the changed line; the tests still pass."""
    file = tree / "components/code.py"
    file.write_text(file.read_text().replace(old, new))


def explain(tree: Path, *changes: tuple[str, str], reason: str = "Its value is arbitrary here.") -> None:
    """Write the table of survivors that stay."""
    row = '[[survivor]]\nfile = "components/code.py"\nwas = "{}"\nbecomes = "{}"\nreason = "{}"\n'
    rows = [row.format(was, becomes, reason) for was, becomes in changes]
    (tree / "tests/mutants.toml").write_text("".join(rows))


def ran(tree: Path) -> list[str]:
    """The tests that ran since the last call."""
    file = tree.parent / "runs"
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return names


def test_only_the_tests_of_the_line_run_and_a_shared_fixture_belongs_to_all_its_tests(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tree, "return x * 2", "return 2 * x")
    assert mutants(tree, tree / ".tools", since="HEAD", number=1) == []
    traced = [
        "uses_the_fixture_first",
        "doubles",
        "remembers_first",
        "waits",
        "limit",
        "program",
        "red_already",
    ]
    names = ran(tree)
    assert names[:7] == [f"test_{name}" for name in traced]
    assert set(names[7:]) <= {"test_uses_the_fixture_first", "test_doubles"} and "test_doubles" in names[7:]
    told = capsys.readouterr().out
    assert "red without any mutant, not used: tests/unit/test_code.py::test_red_already" in told
    assert "test_code.py::test_doubles" in told and "1 of 1 mutants killed (100.0%), 0 survived" in told


def test_a_result_that_functools_remembers_belongs_to_every_test_that_uses_it(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tree, "    return x\n", "    return x * 1\n")
    assert mutants(tree, tree / ".tools", since="HEAD", number=1) == []
    assert set(ran(tree)[7:]) <= {"test_remembers_first", "test_waits"}
    assert "test_code.py::test_waits" in capsys.readouterr().out


def test_a_process_that_a_test_starts_counts_as_run_by_it(tree: Path) -> None:
    assert mutants(tree, tree / ".tools", inside=["components/program.py"], seed=3) == []
    assert "test_waits" not in ran(tree)[7:]


def test_a_constant_that_runs_at_import_is_shown_to_the_tests_that_import_it(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tree, "LIMIT = 3", "LIMIT = 2 + 1")
    assert mutants(tree, tree / ".tools", since="HEAD", number=1) == []
    assert "test_code.py::test_limit" in capsys.readouterr().out


def test_a_survivor_fails_the_run_with_its_line_until_it_is_explained(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tree, "return 7", "return 8")
    change(tree, "def unseen", "# It has a test, so this mutant is covered.\ndef unseen")
    (tree / "tests/unit/test_code.py").write_text(
        (tree / "tests/unit/test_code.py").read_text().replace("assert code.unseen() == 8", "code.unseen()")
    )
    faults = mutants(tree, tree / ".tools", since="HEAD")
    assert "fewer than 95% of the mutants were killed" in faults
    assert any(fault.startswith("components/code.py:17: no test kills this mutant") for fault in faults)
    told = capsys.readouterr().out
    assert "survived: 1 tests stay green\n  - return 8\n  + return 9\n  NOT EXPLAINED" in told
    explain(tree, ("return 8", "return 9"), ("return 8", "return None"))
    assert mutants(tree, tree / ".tools", since="HEAD") == ["fewer than 95% of the mutants were killed"]
    assert "explained: Its value is arbitrary here." in capsys.readouterr().out


def test_a_line_that_no_test_runs_is_a_survivor(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tree, "return 7", "return 6 + 1")
    assert mutants(tree, tree / ".tools", since="HEAD", number=1) != []
    assert "not covered: no test runs this line" in capsys.readouterr().out


def test_an_explanation_that_explains_nothing_fails_the_run(tree: Path) -> None:
    explain(tree, ("LIMIT = 9", "LIMIT = 10"), ("LIMIT = 3", "LIMIT = 4"))
    code, seed = ["components/code.py"], seed_of(tree, "LIMIT = 4")
    assert mutants(tree, tree / ".tools", inside=code, number=1, seed=seed) == [
        "components/code.py: 'LIMIT = 9': no such mutant can be drawn; remove the row",
        "components/code.py: 'LIMIT = 3': a test kills this mutant; remove the row",
    ]


def test_an_explanation_needs_a_reason_in_a_sentence(tree: Path) -> None:
    explain(tree, ("LIMIT = 3", "LIMIT = 4"), reason="So.")
    with pytest.raises(SystemExit, match="give the reason in a sentence"):
        mutants(tree, tree / ".tools")


def seed_of(tree: Path, becomes: str) -> int:
    """A seed that draws this mutant first."""
    return next(
        seed for seed in range(99) if draw(tree, ["components/code.py"], None, 1, seed)[0].becomes == becomes
    )


def test_a_mutant_that_hangs_its_test_is_killed_by_the_time_of_its_test(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempt, "SLACK_S", 3.0)
    seed = seed_of(tree, "x -= 1")
    assert mutants(tree, tree / ".tools", inside=["components/code.py"], number=1, seed=seed) == []
    assert "time: ran past" in capsys.readouterr().out


def test_without_a_changed_line_no_test_is_run(tree: Path) -> None:
    assert mutants(tree, tree / ".tools", since="HEAD") == [] and ran(tree) == []


def test_what_ended_is_remembered_until_the_test_or_the_code_changes(tree: Path) -> None:
    arguments = {"inside": ["components/program.py"], "number": 1}
    assert mutants(tree, tree / ".tools", **arguments) == [] and len(ran(tree)) == 8
    assert mutants(tree, tree / ".tools", **arguments) == [] and ran(tree) == []
    (tree / "components/code.py").write_text(CODE + "\n")
    assert mutants(tree, tree / ".tools", **arguments) == []
    assert len(ran(tree)) == 8, "the module is traced again, and its tests are asked again"


def test_what_a_process_ran_before_it_is_killed_is_known(tmp_path: Path) -> None:
    program, settings = tmp_path / "program.py", tmp_path / "coverage.ini"
    program.write_text("import time\nwhile True:\n    time.sleep(0.01)\n")
    settings.write_text(SETTINGS.format(measured=f"{tmp_path}/*", data=tmp_path))
    env = {**os.environ, "COVERAGE_PROCESS_START": str(settings), "SKERRY_CONTEXT": "c1"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen([sys.executable, str(program)], env=env) as process:
        try:
            assert wait_until(lambda: any(lines_in(file, program) for file in tmp_path.glob("c.*")))
        finally:
            process.kill()


def lines_in(database: Path, program: Path) -> dict[int, list[str]]:
    """Contexts by line; empty as long as nothing was saved."""
    data = coverage.CoverageData(str(database))
    try:
        data.read()
    except DataError:
        return {}
    found = data.contexts_by_lineno(str(program))
    assert set().union(*found.values()) <= {"c1"}
    return found
