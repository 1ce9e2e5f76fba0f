"""A stack file that the engine could not use is refused by file and line, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import engine
from cli.engine import EngineError, environment
from cli.stack_file import KEYS, StackFileError, read
from tests.unit.settings.files import STACK_FILES

HEAD = "config:\n  skerry:stack:\n    environment: local\n"
SALT = "encryptionsalt: v1:6+mQic5j0rY=:v1:BhfzZvuGUknOZN+D:/gX19oSRWtLtAiltql9K1Nxx08IgwQ==\n"


def refusal(tmp_path: Path, content: str | bytes) -> str:
    file = tmp_path / "file"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StackFileError) as caught:
        read(file, "stacks/Pulumi.x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "rule", "remedy"),
    [
        (HEAD.encode() + b"    labels: {a: \xff}\n", 4, "byte 0xff is not UTF-8", "Save the file as UTF-8"),
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
    assert told.startswith(f"stacks/Pulumi.x.yaml, line {line}: " if line else "stacks/Pulumi.x.yaml: "), told
    assert rule in told and remedy in told


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
