"""What stands where: rules of the project that no single file could keep alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "__main__.py"
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
WORKLOADS = sorted((ROOT / "workloads").rglob("*.py"))
TARGET_NAMES = {"local", "existing", "aws", "gcp"}
MAY_NAME_A_TARGET = ("components/assembly.py", "components/settings/targets.py", "components/catalog/")
CLOUD_SDKS = {"pulumi_aws", "pulumi_gcp", "pulumi_kubernetes"}
MOST_LINES, MOST_LINES_OF_MAIN = 300, 40
# Written apart, so that this file is not its own first finding.
INDEX_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("download", "pytorch", "org"),
        ("deb", "debian", "org"),
    )
]
MACHINE_PATHS = [f"/{folder}/" for folder in ("root", "work", "home")]
# Reviewed as they are: a licence and Go's checksums are other people's texts.
NOT_OURS = {"LICENSE", "go.sum"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def texts_in(source: str) -> Iterator[str]:
    """String literals of a source, without docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    prose = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def modules_in(source: str) -> set[str]:
    """Modules that a source imports, at whatever place."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def packages_in(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in modules_in(path.read_text())}


def own_room(path: Path) -> str:
    """The target whose folder a file stands in."""
    parts = path.relative_to(ROOT / "components").parts
    return parts[0] if parts[0] in TARGET_NAMES else ""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.name not in NOT_OURS]


def found_in(paths: list[Path], word: str) -> list[str]:
    pattern = re.compile(rf"(?<![\w.~\-]){re.escape(word)}" if word.startswith("/") else re.escape(word))
    return [relative(path) for path in paths if pattern.search(path.read_text(errors="replace"))]


def test_there_is_something_to_look_at() -> None:
    assert len(COMPONENTS) > 20 and len(WORKLOADS) > 10


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in [*COMPONENTS, MAIN]
        if path == MAIN or not relative(path).startswith(MAY_NAME_A_TARGET)
    ],
    ids=relative,
)
def test_a_targets_name_is_known_only_to_the_tables_and_to_its_own_folder(path: Path) -> None:
    foreign = TARGET_NAMES - ({own_room(path)} if path != MAIN else set())
    assert foreign.isdisjoint(texts_in(path.read_text()))


def test_the_program_names_no_target_anywhere() -> None:
    words = set(re.findall(r"[a-z]+", MAIN.read_text().lower()))
    assert words.isdisjoint(TARGET_NAMES)


def test_the_program_is_short() -> None:
    assert len(MAIN.read_text().splitlines()) <= MOST_LINES_OF_MAIN


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_a_file_of_the_components_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", WORKLOADS, ids=relative)
def test_a_workload_imports_no_component(path: Path) -> None:
    assert "components" not in packages_in(path)


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_a_cloud_is_imported_only_in_its_own_folder(path: Path) -> None:
    parts = path.relative_to(ROOT / "components").parts
    if parts[0] in {"settings", "catalog"} or len(parts) == 1 or parts[0] == "local":
        assert packages_in(path).isdisjoint(CLOUD_SDKS)
    assert not {f"components.{name}" for name in TARGET_NAMES - {own_room(path)} if own_room(path)} & {
        ".".join(module.split(".")[:2]) for module in modules_in(path.read_text())
    }, "a target imports a sibling"


@pytest.mark.parametrize("path", sorted((ROOT / "components" / "settings").glob("*.py")), ids=relative)
def test_settings_are_plain_values_and_only_the_reader_knows_pulumi(path: Path) -> None:
    assert ("pulumi" in packages_in(path)) == (path.name == "read.py")


@pytest.mark.parametrize(
    "module", ["components.local.settings", "components.settings", "components.assembly"]
)
def test_a_module_can_be_the_first_that_is_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)


@pytest.mark.parametrize("host", INDEX_HOSTS)
def test_no_file_names_the_host_of_a_package_index(host: str) -> None:
    assert found_in(tracked(), host) == []


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_no_file_names_a_place_of_one_machine(path: str) -> None:
    assert found_in(tracked(), path) == []


def test_the_search_finds_a_path_but_no_part_of_a_url_or_of_a_longer_path(tmp_path: Path) -> None:
    assert MACHINE_PATHS[2] == "/" + "home/"
    pattern = re.compile(rf"(?<![\w.~\-]){re.escape(MACHINE_PATHS[2])}")
    assert pattern.search("cd /" + "home/me") and not pattern.search("https://example.com/" + "home/me")


def test_a_text_is_told_from_a_docstring() -> None:
    assert list(texts_in('"""local"""\ndef f():\n    """local"""\n    return "aws"\n')) == ["aws"]
