"""tests/ordering.toml: orders that the tests over recorded stacks do not notice."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.ordering.attempt import Result
from tools.ordering.sites import Site

TABLE = "tests/ordering.toml"


@dataclass(frozen=True)
class Row:
    """One order, and either the test that notices its absence or the reason why none can."""

    file: str
    function: str
    what: str
    test: str = ""
    reason: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """As that of a `Site`."""
        return self.file, self.function, self.what


def read(path: Path) -> list[Row]:
    """The table; exits for a row with neither a test nor a reason, or with both."""
    rows = [Row(**row) for row in tomllib.loads(path.read_text()).get("order", [])]
    for row in rows:
        if bool(row.test) == (len(row.reason.split()) > 3):
            raise SystemExit(
                f"ordering: {path.name}: {row.file}: {row.what}: give a test, or a reason in a sentence"
            )
    return rows


def unused(rows: Sequence[Row], sites: Sequence[Site]) -> list[str]:
    """Rows whose order is not there, and orders that one row cannot tell apart."""
    keys = [site.key for site in sites]
    gone = [
        f"{row.file}: {row.what}: {row.function} does not contain this order; remove the row"
        for row in rows
        if row.key not in keys
    ]
    return gone + [
        f"{file}: {what}: twice in {name}" for file, name, what in keys if keys.count((file, name, what)) > 1
    ]


def fault(site: Site, result: Result, row: Row | None) -> str:
    """Why the run fails because of this order; empty where it does not."""
    place = f"{site.file}:{site.line} {site.function}: {site.what}"
    if result.broken:
        return f"{place}: the program does not run without it: {result.broken}"
    if row and row.reason:
        return f"{place}: a test notices it; remove the row: {result.noticed}" if result.noticed else ""
    return "" if result.noticed else f"{place}: no test notices that it is gone"
