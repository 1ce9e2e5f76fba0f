"""What a rehearsal tells: what ran, how long it took, and what was judged and what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from cli.rehearsal.order import Judged
from cli.rehearsal.phases import PHASES, Rehearsed
from tools.rehearsal.rules import RULES

WIDTH = 200
"""Columns where the output is no terminal: nothing is cut."""


def show(results: Sequence[Rehearsed]) -> None:
    """Prints the table of the phases, then what stands in the denominator, then warnings."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_phases(results, console.is_terminal))
    types = sum((result.types for result in results), Counter[str]())
    used: Judged = {}
    for result in results:
        for rule, urns in result.judged.items():
            used.setdefault(rule, set()).update(urns)
    judged = Counter(urn.split("::")[2].rpartition("$")[2] for urn in set[str]().union(*used.values()))
    console.print(
        f"\nJUDGED: {judged.total()} of {types.total()} resources, by {len(used)} of {len(RULES)} rules. "
        f"REFUSED ON THE WAY: {sum(result.refusals for result in results)} creations.\n"
        "No other input was compared with any cloud's API: the stand-ins take what no rule refuses.\n"
        "Every change counts as an update: no replacement was modelled.\n"
        "What ran is the engine, the program and the stack files.\n"
    )
    console.print(_rules(used, console.is_terminal))
    console.print()
    console.print(_types(types, judged, console.is_terminal))
    for result in results:
        for warning in result.warnings:
            console.print(f"\n{result.stack}: warning: {warning}", markup=False)


def _phases(results: Sequence[Rehearsed], ruled: bool) -> Table:
    table = _table(ruled)
    table.add_column("stack", no_wrap=True)
    for heading in ("resources", *(f"{phase} s" for phase in PHASES), "peak MB"):
        table.add_column(heading, justify="right")
    for result in results:
        seconds = [f"{run.seconds:.1f}" if (run := result.runs.get(phase)) else "-" for phase in PHASES]
        table.add_row(result.stack, str(result.types.total()), *seconds, f"{result.peak_mb:.0f}")
    return table


def _rules(used: Judged, ruled: bool) -> Table:
    """Every rule, also those that concerned nothing."""
    table = _table(ruled)
    table.add_column("rule", no_wrap=True)
    table.add_column("call")
    table.add_column("judged", justify="right")
    for rule in RULES:
        table.add_row(rule.name, rule.call, str(len(used.get(rule.name, ()))))
    return table


def _types(types: Counter[str], judged: Counter[str], ruled: bool) -> Table:
    table = _table(ruled)
    table.add_column("type", no_wrap=True)
    table.add_column("resources", justify="right")
    table.add_column("judged", justify="right")
    for kind, count in sorted(types.items()):
        table.add_row(kind, str(count), str(judged[kind]))
    return table


def _table(ruled: bool) -> Table:
    return Table(box=box.SIMPLE_HEAD if ruled else None, pad_edge=False, show_edge=False)
