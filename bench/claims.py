"""What a benchmark says: claims (PASS or FAIL), aims (MET or MISSED), figures, and the raw samples behind them.

    bench = Benchmark("training")
    samples = bench.part("two workers", measure)       # kept, and not measured again at the same commit
    bench.claim("losses are equal", gap <= 1e-3, f"{gap:.1e} at most, 1e-3 allowed")
    bench.aim("two workers scale", speed >= 1.7, f"{speed:.2f}x, aim 1.7x")
    return bench.finish()                              # prints the table, writes the JSON; 1 where a claim failed

The JSON lies in bench/results/ and is committed; tables in the docs are made of it (bench/tables.py). A part is any
function whose result JSON can hold. Finished parts lie in .tools/bench/NAME/COMMIT/, so a long benchmark that was
interrupted goes on where it was; with uncommitted changes of the code nothing is kept, as no commit names them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLAIM, AIM, FIGURE = "claim", "aim", "figure"
VERDICTS = {CLAIM: ("FAIL", "PASS"), AIM: ("MISSED", "MET"), FIGURE: ("", "")}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    kind: str
    name: str
    figure: str  # with its unit and what it is measured against
    verdict: str


class Benchmark:
    def __init__(
        self, name: str, packages: Sequence[str] = (), root: Path = ROOT, facts: dict[str, Any] | None = None
    ) -> None:
        """`packages`: whose versions matter to the figures; `facts`: sizes and settings that the reader must know."""
        self.name, self.root, self.facts = name, root, facts or {}
        self.packages = {package: version(package) for package in packages}
        self.rows: list[Row] = []
        self.samples: dict[str, Any] = {}
        self.commit = _git(root, "rev-parse", "HEAD")
        # Results and docs are what a benchmark changes; they change no figure.
        self.dirty = bool(_git(root, "status", "--porcelain", "--", ".", ":!bench/results", ":!docs"))
        self._kept = root / ".tools" / "bench" / name / self.commit

    def folder(self) -> Path:
        """Where parts leave what later parts need; what is there already may be of an interrupted try."""
        folder = self._kept / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """The samples of one part: those kept at this commit, or else what `measure` returns now."""
        file = self._kept / f"{name.replace(' ', '-')}.json"
        if file.exists() and not self.dirty:
            print(f"{name}: measured before at this commit", flush=True)
            self.samples[name] = json.loads(file.read_text())
            return self.samples[name]
        print(f"{name} ...", flush=True)
        began = time.monotonic()
        self.samples[name] = json.loads(json.dumps(measure()))  # the same to the reader, kept or not
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        if not self.dirty:
            self._kept.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".partial").write_text(json.dumps(self.samples[name]))
            file.with_suffix(".partial").rename(file)
        return self.samples[name]

    def claim(self, name: str, holds: bool, figure: str) -> None:
        """What must hold: a FAIL fails the benchmark."""
        self._add(CLAIM, name, figure, holds)

    def aim(self, name: str, met: bool, figure: str) -> None:
        """What is worked towards and depends on the machine."""
        self._add(AIM, name, figure, met)

    def figure(self, name: str, figure: str) -> None:
        """What is only told."""
        self._add(FIGURE, name, figure, True)

    def finish(self) -> int:
        """Print the table, write the JSON; the exit code. What was kept of the parts goes: the next run is afresh."""
        width = max(len(row.name) for row in self.rows)
        for row in self.rows:
            print(f"{row.verdict or '-':6}  {row.name:{width}}  {row.figure}")
        results = self.root / "bench" / "results"
        results.mkdir(parents=True, exist_ok=True)
        written = results / f"{self.name.replace('-', '_')}.json"
        text = json.dumps(self.record(), indent=1, sort_keys=True) + "\n"
        for here in (self.root.as_uri(), str(self.root)):
            text = text.replace(f"{here}/", "")  # the record is of any checkout, not of this one's place
        written.write_text(text)
        print(f"samples: {written.relative_to(self.root)}")
        shutil.rmtree(self._kept, ignore_errors=True)
        return int(any(row.verdict == VERDICTS[CLAIM][False] for row in self.rows))

    def record(self) -> dict[str, Any]:
        """What is committed: the figures and what they belong to."""
        return {
            "name": self.name,
            "commit": self.commit,
            "dirty": self.dirty,
            "date": time.strftime("%Y-%m-%d"),
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": self.packages,
            "facts": self.facts,
            "rows": [asdict(row) for row in self.rows],
            "samples": self.samples,
        }

    def _add(self, kind: str, name: str, figure: str, good: bool) -> None:
        self.rows.append(Row(kind, name, figure, VERDICTS[kind][bool(good)]))


def processor() -> str:
    """What the kernel calls the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
