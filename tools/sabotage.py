"""`make sabotage`: every listed breakage, applied to a copy, must turn its named test red.

    python -m tools.sabotage [--since REF] [--only NAME]

tests/sabotage.toml lists them: name, file, find (text that occurs exactly once), replace, test (a pytest id)
and env (toolkit or workloads). What passed is remembered in .tools/sabotage.json under a hash of the breakage
and the whole tree, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.paths import MADE, ROOT

ENVIRONMENTS = ("toolkit", "workloads")
NO_TEST_RAN = (3, 5)  # pytest's own: an internal error, none collected
LIMIT_S = 600


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


def run_test(copy: Path, breakage: Breakage, made: Path) -> tuple[int, str]:
    """Run the named test in the copy: pytest's exit status and its output."""
    env = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PULUMI_ERROR_OUTPUT_STRING": "1",
    }
    env.pop("PYTEST_ADDOPTS", None)
    command = [str(made / breakage.env / "bin/python"), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, breakage.test], cwd=copy, env=env, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return 1, f"ran past {LIMIT_S} s"
    return done.returncode, done.stdout + done.stderr


def attempt(copy: Path, breakage: Breakage, made: Path, green: set[str]) -> str:
    """Break, test, mend: '' when the test noticed, else why the breakage fails the run."""
    file = copy / breakage.file
    if not file.is_file():
        return f"{breakage.file} does not exist"
    text = file.read_text()
    if text.count(breakage.find) != 1:
        return f"find occurs {text.count(breakage.find)} times in {breakage.file}, not once"
    if breakage.test not in green:
        status, output = run_test(copy, breakage, made)
        if status:
            said = f"pytest ended with {status}:\n{output[-2000:]}"
            return f"{breakage.test} is not green on the unbroken tree: {said}"
        green.add(breakage.test)
    file.write_text(text.replace(breakage.find, breakage.replace))
    try:
        status, output = run_test(copy, breakage, made)
    finally:
        file.write_text(text)
    if status == 0:
        return f"SURVIVED: {breakage.test} stays green"
    if status in NO_TEST_RAN:
        return f"no test ran (pytest ended with {status}):\n{output[-2000:]}"
    return ""


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


def sabotage(root: Path, made: Path, rows: list[Breakage]) -> list[str]:
    """Try the rows that are not remembered; the names that failed."""
    remembered = made / "sabotage.json"
    known: dict[str, str] = json.loads(remembered.read_text()) if remembered.exists() else {}
    tree = tree_hash(root)
    keys = {row.name: hashlib.sha256((json.dumps(asdict(row)) + tree).encode()).hexdigest() for row in rows}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="skerry-sabotage-") as scratch:
        copy = Path(scratch)
        copy_tree(root, copy)
        green: set[str] = set()
        for row in rows:
            if keys[row.name] in known:
                print(f"red   {row.name} (remembered)", flush=True)
                continue
            began = time.monotonic()
            why = attempt(copy, row, made, green)
            took = f"{time.monotonic() - began:.1f} s"
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
    options = parser.parse_args(argv)
    rows = read(ROOT / "tests/sabotage.toml")
    chosen = choose(rows, options.only, changed_since(ROOT, options.since) if options.since else None)
    failed = sabotage(ROOT, MADE, chosen)
    noticed = len(chosen) - len(failed)
    print(f"{len(chosen)} of {len(rows)} breakages tried: {noticed} noticed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
