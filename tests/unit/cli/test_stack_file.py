"""A stack file that the engine could not use is refused by file and line, with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli import engine
from cli.engine import EngineError, environment
from cli.stack_file import KEYS, read
from cli.stack_yaml import DEEPEST, StackFileError
from tests.unit.settings.files import STACK_FILES

HEAD = "config:\n  skerry:stack:\n    environment: local\n"
SALT = "encryptionsalt: v1:6+mQic5j0rY=:v1:BhfzZvuGUknOZN+D:/gX19oSRWtLtAiltql9K1Nxx08IgwQ==\n"


LAUGHS = "".join(f"    a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * 9)}]\n" for level in range(5))
CHAIN = "".join(f"    a{level + 1}: &a{level + 1} [[[*a{level}]]]\n" for level in range(DEEPEST))
START = "    a0: &a0 [1, 2]\n"
UNREADABLE: list[tuple[str | bytes, int | None, str, str]] = [
    (HEAD + "    ? [a, b]\n    : 1\n", 4, "a key must be text, not a list or a mapping", "Write a word"),
    (HEAD + "    ? {a: b}\n    : 1\n", 4, "a key must be text, not a list or a mapping", "Write a word"),
    (HEAD + "    dial: !!int foo\n", 4, "'foo' is not a valid int", "in quotes"),
    (HEAD + "    dial: !!float foo\n", 4, "'foo' is not a valid float", "in quotes"),
    (HEAD + "    dial: !!bool foo\n", 4, "'foo' is not a valid bool", "in quotes"),
    (HEAD + "    dial: !!int ''\n", 4, "'' is not a valid int", "in quotes"),
    (HEAD + f"    dial: {'9' * 5000}\n", 4, "is not a valid int", "in quotes"),
    (HEAD + "    dial: !!timestamp foo\n", 4, "'foo' is not a valid timestamp", "in quotes"),
    (HEAD + "    labels: {a: 2026-13-45}\n", 4, "'2026-13-45' is not a valid timestamp", "in quotes"),
    (HEAD + "    labels: {? !!int x : 1}\n", 4, "'x' is not a valid int", "in quotes"),
    (HEAD + "    dial: !!python/object/apply:os.getcwd []\n", 4, "os.getcwd' is not known here", "Remove it"),
    (HEAD + "    dial: !!python/name:os.getcwd\n", 4, "os.getcwd' is not known here", "Remove it"),
    (HEAD + "    dial: !!binary YQ==\n", 4, "binary' is not known here", "Remove it"),
    (HEAD + "    dial: !!set {a}\n", 4, "set' is not known here", "Remove it"),
    (HEAD + "    dial: !mine 1\n", 4, "'!mine' is not known here", "Remove it"),
    (HEAD + f"    a: {'[' * 3000}{']' * 3000}\n", 4, f"deeper than {DEEPEST} levels", "Close brackets"),
    (
        HEAD + f"    a: {'{a: ' * 3000}1{'}' * 3000}\n",
        4,
        f"deeper than {DEEPEST} levels",
        "Close brackets",
    ),
    (HEAD + f"    a:\n    {'- ' * 3000}1\n", 5, f"deeper than {DEEPEST} levels", "Close brackets"),
    (HEAD + "    labels: &a {x: *a}\n", 4, "contains itself by an alias", "Write the value"),
    (HEAD + "    labels: &a [*a]\n", 4, "contains itself by an alias", "Write the value"),
    (HEAD + "    labels: &a {<<: *a}\n", 4, "contains itself by an alias", "Write the value"),
    (HEAD + START + LAUGHS, None, "aliases make more than 100,000 values", "Use fewer of them"),
    (HEAD + START + CHAIN, None, f"deeper than {DEEPEST} levels by aliases", "Use fewer of them"),
    (HEAD + "    labels: *a\n", 4, "found undefined alias", "Correct that line"),
    (HEAD + '    labels: {a: "\\UFFFFFFFF"}\n', 4, "is no YAML", "Correct that line"),
    (HEAD.encode() + b"    labels: {a: \xff}\n", 4, "byte 0xff is not UTF-8", "Save the file as UTF-8"),
    (HEAD.encode("utf-16"), 1, "byte 0xff is not UTF-8", "Save the file as UTF-8"),
    (
        "# \u00e9\n" + HEAD + "    labels: {a: \0}\n",
        5,
        "character U+0000 is not allowed in YAML",
        "Remove it",
    ),
    (HEAD + "    labels: {a: \x07}\n", 4, "character U+0007 is not allowed in YAML", "Remove it"),
]
"""(content, line where it is one, rule, remedy) of what YAML's parser cannot read, or JSON cannot hold."""


def refusal(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "file"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StackFileError) as caught:
        read(file, "stacks/Pulumi.x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "rule", "remedy"),
    [
        *UNREADABLE,
        (HEAD + "    dial: .nan\n", 4, ".nan is not a finite number", "Write a number"),
        (HEAD + "    dial: -.inf\n", 4, "-.inf is not a finite number", "Write a number"),
        (HEAD + "    environment: dev\n", 4, "'environment' is already in line 3", "Remove one"),
        (SALT + SALT, 2, "'encryptionsalt' is already in line 1", "Remove one"),
        ("config: []\n", 1, "must be a mapping", "Write `skerry:stack:` below it"),
        (
            HEAD + "  skerry:key:\n    secure: abc\n",
            4,
            "skerry:key.secure is not",
            "pulumi config set --secret",
        ),
        (HEAD + "encryptionsalt: rubbish\n", 4, "is not a salt", "Restore the line"),
        (HEAD + "encryptionsalt: v1:AA==:v1:%:AA==\n", 4, "is not a salt", "Restore the line"),
        (HEAD + "colour: red\n", 4, "no top-level key 'colour'", "Move it below `config:`"),
        (HEAD + "    labels: {\n", 5, "is no YAML", "Correct that line"),
        ("- a\n", None, "must be a mapping", "stacks/README.md"),
    ],
)
def test_what_no_stack_file_holds_is_refused_by_line_with_rule_and_remedy(
    tmp_path: Path, content: str | bytes, line: int | None, rule: str, remedy: str
) -> None:
    told = refusal(tmp_path, content)
    assert told.startswith(f"stacks/Pulumi.x.yaml, line {line}: " if line else "stacks/Pulumi.x.yaml"), told
    assert rule in told and remedy in told


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose stack files and state are its own."""
    root = tmp_path_factory.mktemp("clone")
    copied, its_own = ("cli", "tools", "stacks"), (".git", ".skerry")
    for path in engine.ROOT.iterdir():
        if path.name in copied:
            shutil.copytree(path, root / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name == "skerry":
            shutil.copy2(path, root)
        elif path.name not in its_own:
            (root / path.name).symlink_to(path)
    return root


def skerry(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(clone),
        "PULUMI_BACKEND_URL": (clone / "state").as_uri(),
    }
    return subprocess.run(
        [str(clone / "skerry"), *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("stack", ["local", "x"])
@pytest.mark.parametrize(
    ("content", "line", "rule", "remedy"),
    [
        (HEAD + "    ? [a, b]\n    : 1\n", 4, "a key must be text", "Write a word"),
        (HEAD + "    dial: !!int foo\n", 4, "'foo' is not a valid int", "in quotes"),
        (HEAD + "    labels: {a: 2026-13-45}\n", 4, "'2026-13-45' is not a valid timestamp", "in quotes"),
        (HEAD + f"    a: {'[' * 3000}{']' * 3000}\n", 4, "is nested deeper than", "Close brackets"),
        (HEAD + "    labels: &a {x: *a}\n", 4, "contains itself by an alias", "Write the value"),
        (HEAD + "    labels: {a: \0}\n", 4, "character U+0000 is not allowed", "Remove it"),
        (None, None, "cannot be read (Is a directory)", "Make it a readable file"),
    ],
    ids=["key", "int", "date", "deep", "recursive", "NUL", "folder"],
)
def test_a_preview_of_a_stack_file_that_cannot_be_read_prints_one_refusal_and_no_traceback(
    clone: Path, stack: str, content: str | None, line: int | None, rule: str, remedy: str
) -> None:
    file = clone / "stacks" / f"Pulumi.{stack}.yaml"
    if content is None:
        file.unlink(missing_ok=True)
        file.mkdir()
    else:
        file.write_text(content)
    done = skerry(clone, "preview", "--stack", stack)
    where = f", line {line}" if line else ""
    assert done.stderr.startswith(f"skerry: stacks/Pulumi.{stack}.yaml{where}: "), done.stderr
    assert rule in done.stderr and remedy in done.stderr and done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("settings", ["[1, 2]", "a word", "7", "null"])
def test_settings_that_are_no_mapping_are_left_to_the_program_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.x.yaml").write_text(f"config:\n  skerry:stack: {settings}\n")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://of-a-test")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of a test")
    assert environment("x")["PULUMI_STACK"] == "x"


def test_an_alias_that_repeats_a_value_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(HEAD + "    labels: &a {x: 1}\n    other: {<<: *a, again: *a}\n")
    assert read(file, "x")["config"]["skerry:stack"]["other"] == {"x": 1, "again": {"x": 1}}


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.stem)
def test_the_stack_files_of_the_project_are_read(file: Path) -> None:
    assert set(read(file, file.name)) <= set(KEYS)


def test_a_secret_that_the_engine_wrote_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(
        HEAD + "  skerry:key:\n    secure: v1:BhfzZvuGUknOZN+D:/gX19oSRWtLtAiltql9K1Nxx08IgwQ==\n"
    )
    assert "skerry:key" in read(file, "x")["config"]


def test_a_local_stack_without_a_salt_is_refused_before_the_engine_writes_one_into_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.local.yaml").write_text(HEAD)
    with pytest.raises(EngineError, match="`encryptionsalt:` is missing") as caught:
        environment("local")
    assert "git show HEAD:stacks/Pulumi.local.yaml" in str(caught.value)
