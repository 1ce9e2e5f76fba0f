"""`make mutants`: draw mutants, ask the tests that run their lines, list the survivors.

    python -m tools.mutants [--since REF] [--number N] [--seed N] [--in PATH ...] [--jobs N]

Without a commit, mutants are drawn from all of components/ and workloads/; with one, from the lines that changed
since, in cli/ and tools/ too. What ended is remembered in .tools/mutants.json, so that an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.mutants import explained
from tools.mutants.attempt import KILLED, Memory, Result, attempt_all
from tools.mutants.covering import Selection, select
from tools.mutants.draw import PRODUCT, WHERE_CHANGED, Mutant, changed_lines, draw
from tools.mutants.trace import Trace, load, modules_of, stale, trace
from tools.paths import MADE, ROOT
from tools.sabotage import files_of

AIM = 0.95
EXPLAINED = "tests/mutants.toml"


def drawn(root: Path, since: str | None, inside: Sequence[str], number: int, seed: int) -> list[Mutant]:
    """The mutants of this run."""
    folders = tuple(inside or (WHERE_CHANGED if since else PRODUCT))
    files = [name for name in files_of(root) if name.endswith(".py") and name.startswith(folders)]
    return draw(root, files, changed_lines(root, since, files) if since else None, number, seed)


def selections(root: Path, store: Path, mutants: list[Mutant]) -> list[tuple[Mutant, Selection]]:
    """Each mutant with the tests that cover it."""
    loaded = (load(store, module) for module in modules_of(root))
    traces: list[Trace] = [one for one in loaded if one is not None]
    return [(mutant, select(mutant, traces)) for mutant in mutants]


def shown(mutant: Mutant, result: Result) -> str:
    """A mutant with its place, its change and its end."""
    change = f"  - {mutant.was}\n  + {mutant.becomes or '(left out)'}"
    return f"{mutant.file}:{mutant.line} [{mutant.operator}] {result.end}: {result.by}\n{change}"


def judge(
    root: Path, mutants: list[Mutant], results: dict[str, Result], rows: list[explained.Explanation]
) -> list[str]:
    """Print the survivors and the share of killed mutants; why the run fails, empty when it does not."""
    survivors = [one for one in mutants if results[one.key].end != KILLED]
    faults = explained.faults(root, rows, mutants, results)
    for one in survivors:
        reason = next((row.reason for row in rows if row.matches(one)), "")
        print(
            f"\nsurvivor: {shown(one, results[one.key])}\n  "
            + (f"explained: {reason}" if reason else "NOT EXPLAINED")
        )
        if not reason:
            faults.append(
                f"{one.file}:{one.line}: no test kills this mutant and {EXPLAINED} does not explain it"
            )
    killed = len(mutants) - len(survivors)
    if mutants and killed < AIM * len(mutants):
        faults.append(f"fewer than {AIM:.0%} of the mutants were killed")
    print(
        f"\n{killed} of {len(mutants)} mutants killed ({killed / max(len(mutants), 1):.1%}), {len(survivors)} survived"
    )
    return faults


def mutants(
    root: Path,
    made: Path,
    since: str | None = None,
    inside: Sequence[str] = (),
    number: int = 200,
    seed: int = 1,
    jobs: int = 2,
) -> list[str]:
    """Draw, trace, try, judge: why the run fails, empty when it does not."""
    store = made / "mutants"
    rows = explained.read(root / EXPLAINED)
    chosen = drawn(root, since, inside, number, seed)
    print(f"{len(chosen)} mutants drawn with seed {seed}", flush=True)
    if chosen:
        trace(root, made, store, stale(root, store, {one.file for one in chosen}), jobs)

    def show(place: int, mutant: Mutant, result: Result) -> None:
        where = f"{mutant.file}:{mutant.line} [{mutant.operator}]"
        print(f"{place:>4} {result.end} in {result.seconds} s: {where}: {result.by}", flush=True)

    selected = selections(root, store, chosen)
    results = attempt_all(root, made, selected, Memory(made / "mutants.json"), jobs, show)
    return judge(root, chosen, results, rows)


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for; 1 when the run fails."""
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--since", metavar="REF", help="only lines that changed since REF")
    parser.add_argument("--in", dest="inside", metavar="PATH", nargs="*", default=[], help="only below PATH")
    parser.add_argument("--number", metavar="N", type=int, default=200, help="so many mutants (200)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="another seed draws others (1)")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="so many at a time (2)")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = mutants(ROOT, MADE, **vars(options))
    for fault in faults:
        print(f"fault: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
