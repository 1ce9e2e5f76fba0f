"""A benchmark fails where a claim does, goes on where it was interrupted, and its tables say what was measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bench.claims import Benchmark
from bench.tables import MISSING, PAGE, ROOT, filled, table


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text(".tools\n")
    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(("holds", "met", "code"), [(True, False, 0), (False, True, 1)])
def test_only_a_failed_claim_fails_a_benchmark_and_the_json_tells_what_was_seen(
    project: Path, capsys: pytest.CaptureFixture[str], holds: bool, met: bool, code: int
) -> None:
    bench = Benchmark("some-thing", packages=["pytest"], root=project)
    places = [(project / "models" / "one").as_uri(), str(project / "models")]
    bench.part("speed", lambda: {"seconds": [1.5, 2.5], "places": places})
    bench.claim("it is right", holds, "3 of 3")
    bench.aim("it is fast", met, "1.5 s, aim 1 s")
    assert bench.finish() == code
    told = capsys.readouterr().out
    record = json.loads((project / "bench" / "results" / "some_thing.json").read_text())
    assert [row["verdict"] for row in record["rows"]] == [
        "PASS" if holds else "FAIL",
        "MET" if met else "MISSED",
    ]
    assert all(f"{row['verdict']} " in told and row["figure"] in told for row in record["rows"])
    assert record["samples"] == {"speed": {"seconds": [1.5, 2.5], "places": ["models/one", "models"]}}
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True
    )
    assert (record["commit"], record["dirty"]) == (head.stdout.strip(), False)
    assert record["processor"] and record["packages"] == {"pytest": pytest.__version__}


def test_an_interrupted_benchmark_goes_on_at_the_same_commit_and_a_changed_tree_starts_afresh(
    project: Path,
) -> None:
    def measured(bench: Benchmark, value: int) -> int:
        return bench.part("slow part", lambda: value)

    assert measured(Benchmark("long", root=project), 1) == 1
    (project / "docs").mkdir()
    (project / "docs" / "page.md").write_text("what a benchmark changes is no change of the code")
    again = Benchmark("long", root=project)
    assert (measured(again, 2), again.dirty) == (1, False)
    (project / "code.py").write_text("one = 2\n")
    changed = Benchmark("long", root=project)
    assert (measured(changed, 3), changed.dirty) == (3, True)
    (project / "code.py").write_text("one = 1\n")
    again.claim("it is right", True, "")
    again.finish()
    assert measured(Benchmark("long", root=project), 4) == 4, "a finished benchmark is run afresh"


def test_a_page_says_where_a_table_has_no_results(tmp_path: Path) -> None:
    page = "<!-- bench: never -->\nold\n<!-- end -->"
    assert filled(page, tmp_path) == f"<!-- bench: never -->\n{MISSING}<!-- end -->"


def test_the_committed_tables_are_those_of_the_committed_results() -> None:
    page, results = PAGE.read_text(), ROOT / "bench" / "results"
    assert filled(page, results) == page, "run python -m bench.tables"
    for file in results.glob("*.json"):
        record = json.loads(file.read_text())
        if "rows" in record:
            assert table(record) in page, f"docs/benchmarks.md has no table of {file.name}"
