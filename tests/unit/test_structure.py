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
CLOUDS = ("aws", "gcp")
CLOUD_SDKS = {"pulumi_aws", "pulumi_gcp", "pulumi_kubernetes"}
SDKS_OF = {
    "aws": {"pulumi_aws", "pulumi_kubernetes"},
    "gcp": {"pulumi_gcp", "pulumi_kubernetes"},
    "k8s": {"pulumi_kubernetes"},
}
SAME_NAMES = {
    *("host", "platform", "providers", "network", "cluster"),
    *("node_pool", "storage", "load_balancer", "identity", "settings"),
}
COPIED_LINES = 6
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
    room = path.relative_to(ROOT / "components").parts[0]
    assert packages_in(path) & CLOUD_SDKS <= SDKS_OF.get(room, set())


@pytest.mark.parametrize("path", COMPONENTS, ids=relative)
def test_no_target_imports_a_sibling_and_what_is_neutral_imports_none(path: Path) -> None:
    room = path.relative_to(ROOT / "components").parts[0]
    imported = {".".join(module.split(".")[:2]) for module in modules_in(path.read_text())}
    foreign = {f"components.{name}" for name in TARGET_NAMES - {room}}
    if not relative(path).startswith(MAY_NAME_A_TARGET):
        assert not imported & foreign


def test_both_clouds_have_the_same_rooms_by_the_same_names() -> None:
    for cloud in CLOUDS:
        names = {path.stem for path in (ROOT / "components" / cloud).glob("*.py")}
        assert names >= SAME_NAMES, cloud


def windows_of(path: Path) -> dict[tuple[str, ...], int]:
    """Every run of so many lines that say something, with where it begins."""
    lines = [(number, line.strip()) for number, line in enumerate(path.read_text().splitlines(), 1)]
    said = [
        (number, line) for number, line in lines if line and not line.startswith(("import ", "from ", "#"))
    ]
    return {
        tuple(line for _, line in said[start : start + COPIED_LINES]): said[start][0]
        for start in range(len(said) - COPIED_LINES + 1)
    }


def test_no_cloud_holds_a_copy_of_the_other() -> None:
    first, second = (
        {path: windows_of(path) for path in (ROOT / "components" / cloud).glob("*.py")} for cloud in CLOUDS
    )
    copies = [
        f"{relative(one)}:{lines[window]} = {relative(other)}:{others[window]}"
        for one, lines in first.items()
        for other, others in second.items()
        for window in lines.keys() & others.keys()
    ]
    assert copies == []


def test_a_copy_would_be_found(tmp_path: Path) -> None:
    text = "\n".join(f"line_{number} = {number}" for number in range(COPIED_LINES))
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"# {name}\n{text}\n")
    assert windows_of(tmp_path / "a.py").keys() == windows_of(tmp_path / "b.py").keys() != set()


def test_settings_are_judged_without_any_sdk() -> None:
    program = (
        "import sys, components.settings.load; print([n for n in sys.modules if n.startswith('pulumi')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


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
