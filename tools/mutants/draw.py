"""Which mutants are tried: drawn with a seed, one for each line before a second one for any."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.operators import Edit, edits
from tools.mutants.source import Source, lines_of

# The aim names the first two; the others are drawn from as far as they changed.
PRODUCT = ("components/", "workloads/")
WHERE_CHANGED = (*PRODUCT, "cli/", "tools/")
# Facts with source and date. Only a copy of the fact in a test would notice another number or word.
FACTS = ("components/catalog/",)
FACTS_KEEP = {"constant", "dict entry", "element", "keyword argument"}
HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Mutant:
    """One mutation of one file. `was` and `becomes` are the lines that it changes."""

    file: str
    line: int
    operator: str
    edit: Edit
    was: str
    becomes: str
    occurrence: int
    lines: range
    """Lines of the statement that is changed; a test covers the mutant when it runs one of them."""

    @property
    def key(self) -> str:
        """What stays the same as long as the changed lines do, wherever they are in the file."""
        words = (self.file, self.operator, self.was, self.becomes, str(self.occurrence))
        return hashlib.sha256("\0".join(words).encode()).hexdigest()

    def applied(self, text: str) -> str:
        """The source with the mutation in it. Raises SystemExit when the source is not the one drawn from."""
        data = text.encode()
        if changed_text(data, self.edit) != (self.was, self.becomes):
            raise SystemExit(f"mutants: {self.file} changed while its mutants were tried; run it again")
        return (data[: self.edit.start] + self.edit.text.encode() + data[self.edit.end :]).decode()


def mutants_of(file: str, text: str) -> Iterator[Mutant]:
    """Every mutant of one source file."""
    source = Source(text)
    seen: Counter[tuple[str, str]] = Counter()
    for place in source.places():
        for operator, edit in edits(source, place):
            if file.startswith(FACTS) and operator in FACTS_KEEP and place.function is None:
                continue
            was, becomes = changed_text(source.data, edit)
            line, lines = source.line(edit.start), lines_of(place.statement)
            yield Mutant(file, line, operator, edit, was, becomes, seen[was, becomes], lines)
            seen[was, becomes] += 1


def changed_text(data: bytes, edit: Edit) -> tuple[str, str]:
    """The lines that an edit touches, before and after, without the space around them."""
    start, end = data.rfind(b"\n", 0, edit.start) + 1, data.find(b"\n", edit.end)
    end = len(data) if end < 0 else end
    # The source may have changed since: a letter may be cut in two.
    before, was, after = (
        part.decode(errors="replace")
        for part in (data[start : edit.start], data[start:end], data[edit.end : end])
    )
    return was.strip(), f"{before}{edit.text}{after}".strip()


def is_valid(mutant: Mutant, text: str) -> bool:
    """Whether the mutated source is Python, and not the same program as before."""
    try:
        after = ast.parse(mutant.applied(text))
        compile(after, mutant.file, "exec")
    except (SyntaxError, ValueError):
        return False
    return ast.dump(after) != ast.dump(ast.parse(text))


def draw(
    root: Path, files: Iterable[str], changed: dict[str, set[int]] | None, number: int, seed: int
) -> list[Mutant]:
    """Up to `number` mutants of the files, or of their changed lines only.

    A mutant's place in the draw depends on the seed and on the mutant alone, so that a change elsewhere keeps it.
    """
    texts = {file: (root / file).read_text() for file in files}
    ranked: list[tuple[int, str, Mutant]] = []
    for file, text in texts.items():
        by_line: dict[int, list[tuple[str, Mutant]]] = {}
        for one in mutants_of(file, text):
            if changed is None or one.line in changed.get(file, ()):
                rank = hashlib.sha256(f"{seed}\0{one.key}".encode()).hexdigest()
                by_line.setdefault(one.line, []).append((rank, one))
        for several in by_line.values():
            ordered = sorted(several, key=lambda pair: pair[0])
            ranked += [(place, rank, one) for place, (rank, one) in enumerate(ordered)]
    chosen: list[Mutant] = []
    for _, _, one in sorted(ranked, key=lambda row: row[:2]):
        if len(chosen) == number:
            break
        if is_valid(one, texts[one.file]):
            chosen.append(one)
    return chosen


def changed_lines(root: Path, ref: str, files: Iterable[str]) -> dict[str, set[int]]:
    """Lines that a commit does not have, by file; all lines of files that git does not track yet."""
    command = ["git", "diff", "--unified=0", "--no-ext-diff", ref, "--", *WHERE_CHANGED]
    diff = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if diff.returncode:
        raise SystemExit(f"mutants: SINCE={ref}: {diff.stderr.strip()}")
    command = ["git", "ls-files", "--others", "--exclude-standard"]
    new = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, set[int]] = {}
    file = ""
    for line in diff.stdout.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif hunk := HUNK.match(line):
            first, length = int(hunk[1]), int(hunk[2] or 1)
            found.setdefault(file, set()).update(range(first, first + length))
    for name in new:
        found[name] = set(range(1, len((root / name).read_bytes().splitlines()) + 1))
    return {name: lines for name, lines in found.items() if name in set(files)}
