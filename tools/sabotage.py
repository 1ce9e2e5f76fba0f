"""`make sabotage`: every listed breakage, applied to a copy of its own, must turn its named test red.

    python -m tools.sabotage [--since REF] [--only NAME] [--jobs N]

tests/sabotage.toml lists them: name, file, find (text that occurs exactly once), replace, test (a pytest id)
and env (toolkit or workloads). What passed is remembered in .tools/sabotage.json under a hash of the breakage
and the whole tree, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import processes
from tools.paths import MADE, ROOT

ENVIRONMENTS = ("toolkit", "workloads")
# pytest's own exit statuses. Only RED says that a test ran and failed.
GREEN, RED = 0, 1
NO_TEST_RAN = {
    2: "pytest was interrupted, or a module cannot be imported",
    3: "pytest failed itself",
    4: "pytest finds no such test, or its module cannot be imported",
    5: "no test was collected",
}
TIMED_OUT = -1
LIMIT_S = 600
HANG_S = 60  # what a breakage keeps from happening is waited for so long


@dataclass(frozen=True)
class Breakage:
    """One small breakage and the test that must notice it."""

    name: str
    file: str
    find: str
    replace: str
    test: str
    env: str = "toolkit"


def read(file: Path) -> list[Breakage]:
    """The list, its mistakes refused."""
    rows = [Breakage(**row) for row in tomllib.loads(file.read_text()).get("breakage", [])]
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise SystemExit(f"sabotage: the name {row.name!r} is listed twice; names are unique")
        if row.env not in ENVIRONMENTS:
            raise SystemExit(
                f"sabotage: {row.name}: env {row.env!r} must be one of {', '.join(ENVIRONMENTS)}"
            )
        if row.find == row.replace:
            raise SystemExit(f"sabotage: {row.name}: find and replace are the same: nothing would break")
    return rows


def files_of(root: Path) -> list[str]:
    """Tracked files and untracked ones that git does not ignore, as far as they exist."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def tree_hash(root: Path) -> str:
    """A hash over all files, the breakages' own list aside: adding one does not undo the others."""
    digest = hashlib.sha256()
    for name in files_of(root):
        if name != "tests/sabotage.toml":
            digest.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()


def copy_tree(root: Path, into: Path) -> None:
    """A copy to break, with the installed environments of the original."""
    for name in files_of(root):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target, follow_symlinks=False)
    (into / ".tools").symlink_to(root / ".tools")
    # Tests that ask git about the tree find one.
    subprocess.run(["git", "init", "--quiet"], cwd=into, check=True)


@contextmanager
def a_copy(root: Path) -> Iterator[Path]:
    """A copy of the tree, with room beside it; gone afterwards, and what ran in it too."""
    with tempfile.TemporaryDirectory(prefix="skerry-sabotage-", ignore_cleanup_errors=True) as scratch:
        copy = Path(scratch).resolve() / "tree"
        copy.mkdir()
        copy_tree(root, copy)
        try:
            yield copy
        finally:
            processes.end(copy.parent)


def run_test(copy: Path, breakage: Breakage, made: Path, limit_s: float = LIMIT_S) -> tuple[int, str]:
    """Run the named test in the copy: pytest's exit status and its output. Nothing it started is left.

    A run past the limit is TIMED_OUT, unless the test itself had been reported as failed by then.
    """
    env = {
        **os.environ,
        "HANG_SECONDS": str(HANG_S),
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PULUMI_ERROR_OUTPUT_STRING": "1",
    }
    env.pop("PYTEST_ADDOPTS", None)
    command = [str(made / breakage.env / "bin/python"), "-u", "-m", "pytest", "-x", "-v", "--color=no"]
    command += ["-p", "no:cacheprovider", f"--basetemp={copy.parent / 't'}", breakage.test]
    # Into a file: a pipe would stay open, and be waited for, as long as anything that the test left behind.
    output = copy.parent / "output"
    with output.open("wb") as out:
        pytest = subprocess.Popen(command, cwd=copy, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            status = pytest.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = TIMED_OUT
        finally:
            processes.end(copy.parent)
            pytest.wait()
    text = output.read_text(errors="replace")
    if status == TIMED_OUT:
        text += f"\nran past {limit_s} s"
        if reported_red(breakage.test, text):
            status = RED
    return status, text


def reported_red(test: str, output: str) -> bool:
    """Whether `pytest -v` has said that the test, or one case of it, failed."""
    return re.search(rf"(?m)^{re.escape(test)}(\[.*\])? (FAILED|ERROR)\b", output) is not None


def attempt(copy: Path, breakage: Breakage, made: Path, green: set[str]) -> str:
    """Test, break, test: '' when the test noticed, else why the breakage fails the run."""
    file = copy / breakage.file
    if not file.is_file():
        return f"{breakage.file} does not exist"
    text = file.read_text()
    if text.count(breakage.find) != 1:
        return f"find occurs {text.count(breakage.find)} times in {breakage.file}, not once"
    if breakage.test not in green:
        status, output = run_test(copy, breakage, made)
        if status != GREEN:
            said = f"pytest ended with {status}:\n{output[-2000:]}"
            return f"{breakage.test} is not green on the unbroken tree: {said}"
        green.add(breakage.test)
    file.write_text(text.replace(breakage.find, breakage.replace))
    status, output = run_test(copy, breakage, made)
    if status == RED:
        return ""
    if status == GREEN:
        return f"SURVIVED: {breakage.test} stays green"
    if status == TIMED_OUT:
        return f"{breakage.test} did not end, which shows nothing:\n{output[-2000:]}"
    meaning = NO_TEST_RAN.get(status, "pytest was killed")
    return f"{meaning} (pytest ended with {status}): make another breakage:\n{output[-2000:]}"


def changed_since(root: Path, ref: str) -> set[str]:
    """Files that differ from a commit, uncommitted ones included."""
    diff = subprocess.run(["git", "diff", "--name-only", ref, "--"], cwd=root, capture_output=True, text=True)
    if diff.returncode:
        raise SystemExit(f"sabotage: SINCE={ref}: {diff.stderr.strip()}")
    command = ["git", "ls-files", "--others", "--exclude-standard"]
    new = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return set(diff.stdout.splitlines()) | set(new.splitlines())


def choose(rows: list[Breakage], only: str | None, changed: set[str] | None) -> list[Breakage]:
    """The breakages that are asked for."""
    if only is not None:
        rows = [row for row in rows if row.name == only]
        if not rows:
            raise SystemExit(f"sabotage: no breakage is called {only!r}")
    if changed is not None:
        rows = [row for row in rows if {row.file, row.test.split("::")[0]} & changed]
    return rows


def sabotage(root: Path, made: Path, rows: list[Breakage], jobs: int = 1) -> list[str]:
    """Try the rows that are not remembered, `jobs` at a time; the names that failed."""
    remembered = made / "sabotage.json"
    known: dict[str, str] = json.loads(remembered.read_text()) if remembered.exists() else {}
    tree = tree_hash(root)
    keys = {row.name: hashlib.sha256((json.dumps(asdict(row)) + tree).encode()).hexdigest() for row in rows}
    failed: list[str] = []
    green: set[str] = set()

    def tried(row: Breakage) -> tuple[str, str]:
        if keys[row.name] in known:
            return "", "remembered"
        began = time.monotonic()
        with a_copy(root) as copy:
            why = attempt(copy, row, made, green)
        return why, f"{time.monotonic() - began:.1f} s"

    with ThreadPoolExecutor(jobs) as pool:
        for row, (why, took) in zip(rows, pool.map(tried, rows), strict=True):
            if why:
                failed.append(row.name)
                print(f"FAIL  {row.name} ({took}): {why}", flush=True)
            else:
                print(f"red   {row.name} ({took})", flush=True)
                known[keys[row.name]] = row.name
                remembered.write_text(json.dumps(known, indent=1))
    return failed


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="make sabotage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--since", metavar="REF", help="only where the file or the test changed since REF")
    parser.add_argument("--only", metavar="NAME", help="one breakage")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="so many at a time (2)")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = read(ROOT / "tests/sabotage.toml")
    chosen = choose(rows, options.only, changed_since(ROOT, options.since) if options.since else None)
    failed = sabotage(ROOT, MADE, chosen, options.jobs)
    noticed = len(chosen) - len(failed)
    print(f"{len(chosen)} of {len(rows)} breakages tried: {noticed} noticed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
