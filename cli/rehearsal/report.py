"""What a rehearsal tells: what ran, how long it took, and that nothing was checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from cli.rehearsal.phases import PHASES, Rehearsed

WIDTH = 200
"""Columns where the output is no terminal: nothing is cut."""


def show(results: Sequence[Rehearsed]) -> None:
    """Prints the table of the phases, then what stands in the denominator, then warnings."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_phases(results, console.is_terminal))
    types = sum((result.types for result in results), Counter[str]())
    console.print(
        f"\nCHECKED NOTHING YET: 0 of {types.total()} resources, of {len(types)} types.\n"
        "The stand-ins only answer: no input was compared with any cloud's API.\n"
        "Every change counts as an update: no replacement was modelled.\n"
        "What ran is the engine, the program and the stack files.\n"
    )
    console.print(_unchecked(types, console.is_terminal))
    for result in results:
        for warning in result.warnings:
            console.print(f"\n{result.stack}: warning: {warning}", markup=False)


def _phases(results: Sequence[Rehearsed], ruled: bool) -> Table:
    table = _table(ruled)
    table.add_column("stack", no_wrap=True)
    for heading in ("resources", *(f"{phase} s" for phase in PHASES), "peak MB"):
        table.add_column(heading, justify="right")
    for result in results:
        seconds = [f"{result.runs[phase].seconds:.1f}" for phase in PHASES]
        table.add_row(result.stack, str(result.types.total()), *seconds, f"{result.peak_mb:.0f}")
    return table


def _unchecked(types: Counter[str], ruled: bool) -> Table:
    table = _table(ruled)
    table.add_column("type", no_wrap=True)
    table.add_column("resources", justify="right")
    table.add_column("checked", justify="right")
    for kind, count in sorted(types.items()):
        table.add_row(kind, str(count), "0")
    return table


def _table(ruled: bool) -> Table:
    return Table(box=box.SIMPLE_HEAD if ruled else None, pad_edge=False, show_edge=False)
