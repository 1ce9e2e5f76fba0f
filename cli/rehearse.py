"""`./skerry rehearse`: cloud stacks from preview to destroy on the real engine, without an account or a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.engine import EngineError
from cli.rehearsal import REFUSALS, SEED
from cli.rehearsal.plan import cloud_stacks, plan
from cli.rehearsal.play import rehearse as play
from cli.rehearsal.report import show
from cli.rehearsal.stage import stage


def rehearse(
    project: Path, names: Sequence[str], every: bool, refusals: int = REFUSALS, seed: int = SEED
) -> None:
    """Rehearses stacks of a project, and those that they refer to, then prints what it took.

    Raises:
        EngineError: nothing to rehearse, a stack that cannot be, or a phase that failed.
    """
    if every == bool(names):
        raise EngineError(
            "rehearse: name the stacks, or say --all for every stack of a cloud: `./skerry rehearse STACK ...`."
        )
    files = plan(project, cloud_stacks(project) if every else names)
    with stage() as made:
        results = play(made, project, files, refusals, seed)
    show(results)
