"""`make ordering`: take each order away that a component asks for, and list those that no test notices.

    python -m tools.ordering [--in PATH ...] [--jobs N]

The tests are those of order over recorded stacks. A row of `tests/ordering.toml` names another test for an order, or
the reason why none can notice it.
"""

from __future__ import annotations

import argparse
import sys

from tools.ordering import explained
from tools.ordering.attempt import TESTS, attempts, quietly, run
from tools.ordering.sites import Site, sites
from tools.paths import ROOT

FOLDER = "components"


def found(inside: tuple[str, ...]) -> list[Site]:
    """The places of the files below these paths."""
    files = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / FOLDER).rglob("*.py"))
    return [
        site for file in files if file.startswith(inside) for site in sites(file, (ROOT / file).read_text())
    ]


def main() -> int:
    """1 when an order is neither noticed nor explained, or a row explains nothing."""
    parser = argparse.ArgumentParser(prog="python -m tools.ordering")
    parser.add_argument("--in", dest="inside", nargs="+", default=[FOLDER], metavar="PATH")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    rows = explained.read(ROOT / explained.TABLE)
    every = found((FOLDER,))
    tried = [site for site in every if site.file.startswith(tuple(chosen.inside))]
    before = quietly(lambda: run(TESTS))
    if fails := before.noticed or before.broken:
        print(f"ordering: the tests fail before anything is taken away: {fails}")
        return 1
    tests = {row.key: row.test for row in rows if row.test}
    faults = explained.unused(rows, every)
    for site, result in attempts([(site, tests.get(site.key, TESTS)) for site in tried], chosen.jobs):
        row = next((row for row in rows if row.key == site.key), None)
        if fault := explained.fault(site, result, row):
            faults.append(fault)
        end = "noticed  " if result.noticed else "survived "
        print(f"{end}{site.file}:{site.line} {site.what}", flush=True)
    print(f"\n{len(tried)} orders taken away, {len(faults)} faults")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
