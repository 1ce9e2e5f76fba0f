"""The tables of docs/benchmarks.md, made of the JSON that the benchmarks wrote: `python -m bench.tables`.

A table stands between `<!-- bench: NAME -->` and `<!-- end -->`, and is replaced by that of results/NAME.json, or by
a line that there is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- bench: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
MISSING = "\nNo figures yet: it has not run to its end on an idle machine.\n\n"


def table(record: dict[str, Any]) -> str:
    """One benchmark's rows, and what they belong to."""
    changed = " with uncommitted changes" if record["dirty"] else ""
    packages = "".join(f", {name} {version}" for name, version in record["packages"].items())
    facts = "".join(f"; {name} {value}" for name, value in record["facts"].items())
    of = f"Commit {record['commit'][:12]}{changed}, {record['date']}, {record['processor']}, {record['cores']} cores"
    rows = [f"| {row['verdict']} | {row['name']} | {row['figure']} |" for row in record["rows"]]
    lines = ["", "| | what | figure |", "| --- | --- | --- |", *rows, ""]
    lines += [f"{of}, Python {record['python']}{packages}{facts}.", ""]
    return "\n".join(lines) + "\n"


def filled(page: str, results: Path) -> str:
    """The page with every block as its JSON has it."""

    def block(found: re.Match[str]) -> str:
        file = results / f"{found[2]}.json"
        return found[1] + (table(json.loads(file.read_text())) if file.exists() else MISSING) + found[3]

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), ROOT / "bench" / "results"))
