"""`make mutants` draws mutants that a reader would call faults, and draws the same ones again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.mutants.draw import changed_lines, draw, is_valid, mutants_of

FILE = "components/code.py"


def becomes(text: str, operator: str) -> list[str]:
    """The changed lines of every valid mutant of one operator."""
    return [one.becomes for one in mutants_of(FILE, text) if one.operator == operator and is_valid(one, text)]


@pytest.mark.parametrize(
    ("operator", "text", "expected"),
    [
        ("comparison", "x = (a) < b", ["x = (a) <= b"]),
        ("comparison", "x = a is not b", ["x = a is b"]),
        ("comparison", "x = a in b", ["x = a not in b"]),
        ("comparison", "x = a == b != c", ["x = a != b != c", "x = a == b == c"]),
        ("boolean operator", "x = a and (b or c)", ["x = a or (b or c)", "x = a and (b and c)"]),
        ("boolean operator", "x = a or b or c", ["x = a and b or c", "x = a or b and c"]),
        ("negation", "x = not (a or b)", ["x = (a or b)"]),
        ("condition", "if a:\n    f = 1", ["if (not (a)):"]),
        ("condition", "x = [i for i in a if i.b]", ["x = [i for i in a if (not (i.b))]"]),
        ("arithmetic", "x = a + b * c", ["x = a - b * c", "x = a + b / c"]),
        ("arithmetic", "x += y", ["x -= y"]),
        ("constant", "x = 3", ["x = 4"]),
        (
            "constant",
            "x = 'é', 0.5, True",
            ["x = 'éx', 0.5, True", "x = 'é', 1.0, True", "x = 'é', 0.5, False"],
        ),
        ("returned value", "def f():\n    return a", ["return None"]),
        ("statement", "f(1)\nx.y = 2\nx = 3", ["pass", "pass"]),
        ("statement", "for i in a:\n    continue", ["pass"]),
        ("keyword argument", "x = f(a, b=1, c=2)", ["x = f(a,  c=2)", "x = f(a, b=1)"]),
        ("dict entry", "x = {a: 1, **b}", ["x = { **b}"]),
        ("element", "x = [a, b]", ["x = [ b]", "x = [a]"]),
        ("element", "x = a, b", []),
        ("decorator", "@cached\ndef f(): pass", [""]),
    ],
)
def test_an_operator_makes_these_mutants_and_no_others(operator: str, text: str, expected: list[str]) -> None:
    assert becomes(text, operator) == expected


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring."""',
        "import a",
        "x: int | None = None",
        "def f(a: int | str) -> dict[str, int]: ...",
        "__all__ = ['a', 'b']",
        "raise_it = 'two words'",
        "logger.warning('a', 1)",
        "if TYPE_CHECKING:\n    a = 1",
        "x: Callable[[int], str]",
        "A = dataclass(B, frozen=True)",
        "x = {**zip(a, b, strict=True)}",
    ],
)
def test_imports_docstrings_types_messages_and_log_lines_are_not_mutated(text: str) -> None:
    assert list(mutants_of(FILE, text)) == []


def test_the_words_of_an_error_stay_while_the_error_can_be_left_out() -> None:
    assert becomes("if a == b:\n    raise Problem('x', 3)", "constant") == []
    assert becomes("if a == b:\n    raise Problem('x', 3)", "statement") == ["pass"]


def test_facts_of_the_catalog_stay_while_its_functions_are_mutated() -> None:
    text = "ROWS = {'a': 1}\ndef f(x):\n    return x + 1\n"
    found = {one.operator for one in mutants_of("components/catalog/rows.py", text)}
    assert found == {"arithmetic", "constant", "returned value"}
    assert {one.line for one in mutants_of("components/catalog/rows.py", text)} == {3}


def test_a_mutant_that_is_no_python_or_the_same_program_is_not_drawn() -> None:
    text = "x = f(a=(1))\n"
    valid = [one for one in mutants_of(FILE, text) if is_valid(one, text)]
    assert {one.becomes for one in valid} == {"x = f()", "x = f(a=(2))"}


CODE = "".join(f"def f{n}(a):\n    return a + {n}, a * {n}\n\n\n" for n in range(30))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of one file with 30 functions."""
    (tmp_path / "components").mkdir()
    (tmp_path / FILE).write_text(CODE)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    return tmp_path


def test_the_same_seed_draws_the_same_mutants_and_another_draws_others(tree: Path) -> None:
    first = draw(tree, [FILE], None, 10, seed=1)
    assert first == draw(tree, [FILE], None, 10, seed=1) and len(first) == 10
    assert first != draw(tree, [FILE], None, 10, seed=2)


def test_a_change_elsewhere_in_the_file_keeps_what_was_drawn(tree: Path) -> None:
    keys = [one.key for one in draw(tree, [FILE], None, 10, seed=1)]
    (tree / FILE).write_text('"""Another first line."""\n\n' + CODE)
    assert [one.key for one in draw(tree, [FILE], None, 10, seed=1)] == keys


def test_a_mutant_is_not_put_into_a_file_that_changed_since_it_was_drawn(tree: Path) -> None:
    (first,) = draw(tree, [FILE], None, 1, seed=1)
    with pytest.raises(SystemExit, match=r"components/code.py changed while its mutants were tried"):
        first.applied("# é\n" + CODE)


def test_no_line_gets_a_second_mutant_before_each_has_one(tree: Path) -> None:
    drawn = [one.line for one in draw(tree, [FILE], None, 40, seed=1)]
    assert len(set(drawn[:30])) == 30 and len(set(drawn)) == 30


def test_only_changed_lines_are_drawn_from_and_all_lines_of_a_new_file(tree: Path) -> None:
    (tree / FILE).write_text(CODE.replace("a + 7", "a - 7"))
    (tree / "cli").mkdir()
    (tree / "cli/new.py").write_text("x = 1\n")
    files = [FILE, "cli/new.py"]
    changed = changed_lines(tree, "HEAD", files)
    assert changed == {FILE: {30}, "cli/new.py": {1}}
    assert {(one.file, one.line) for one in draw(tree, files, changed, 99, 1)} == {
        (FILE, 30),
        ("cli/new.py", 1),
    }


def test_a_commit_that_git_does_not_know_is_refused(tree: Path) -> None:
    with pytest.raises(SystemExit, match="SINCE=nowhere"):
        changed_lines(tree, "nowhere", [FILE])
