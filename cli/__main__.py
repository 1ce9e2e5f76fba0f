"""The commands. Each prints its result on stdout; progress and errors go to stderr."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import runs, teardown
from cli import stack as stacks
from cli.engine import EMBEDDED, ROOT, EngineError, environment, planned_changes, run_engine
from cli.rehearsal import REFUSALS, SEED
from tools.problem import Problem

# What takes long to import is imported by the command that needs it; `rich`, which draws help, takes half a second.
app = typer.Typer(
    rich_markup_mode=None,
    help="Skerry: infrastructure for AI workloads, declared per environment and region.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
DESTROY = {
    True: ("--skip-preview", "--continue-on-error"),
    False: (),
}
"""Whether the stack is the embedded one -> options of `destroy`. On a cloud the preview comes first: the engine refuses
protected resources there before it touches any other resource."""
Stack = Annotated[
    str,
    typer.Option("--stack", "-s", help="Name of the stack: stacks/Pulumi.NAME.yaml."),
]


@app.command()
def up(stack: Stack = "local") -> None:
    """Bring a stack to what its file declares."""
    stacks.recover(stack)
    teardown.check_regions(stack)
    runs.refresh(stack)
    # With a preview: what can be refused (a port, a setting) is refused before anything is done.
    planned = planned_changes(stack) if stack == EMBEDDED else None
    same = planned["same"] if planned and set(planned) == {"same"} else None
    once = ("--skip-preview",) if planned else ()  # it has been made: the resources are listed once
    status = 0 if same else run_engine(stack, "up", "--yes", "--suppress-outputs", *once)
    if status == 0:
        if same := same or stacks.unchanged(stack):
            print(f"no changes: {same} resources are as the stack file declares")
        for line in stacks.health(stack):
            print(line)
        told = stacks.outputs(stack)
        where = told.get("endpoint") or ", ".join(region["endpoint"] for region in told["regions"].values())
        print(f"{where} answers for: {', '.join(sorted(told['models'])) or 'nothing yet'}")
        print("next: make outputs, ./skerry diagram, make down")
    _exit(_report_failed_runs(stack) or status)


@app.command()
def preview(stack: Stack = "local") -> None:
    """Show what `up` would change."""
    stacks.recover(stack)
    teardown.check_regions(stack)
    _exit(run_engine(stack, "preview"))


@app.command()
def down(
    stack: Stack = "local",
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Also remove buckets, keys and logs, for good.")
    ] = False,
) -> None:
    """Take a stack down and leave nothing running. What holds data on a cloud is refused without --with-data."""
    stacks.recover(stack)
    teardown.check(stack, with_data)
    if with_data:
        teardown.unprotect(stack)
    status = run_engine(stack, "destroy", "--yes", *DESTROY[stack == EMBEDDED])
    if status == 0:
        stacks.sweep(stack)
    _exit(status)


@app.command()
def outputs(stack: Stack = "local") -> None:
    """Print the stack's outputs as JSON, and nothing else."""
    print(json.dumps(stacks.outputs(stack), indent=2, sort_keys=True))


@app.command()
def diagram(stack: Stack = "local") -> None:
    """Draw what runs, from the stack's state, as Mermaid."""
    from cli.diagram import mermaid

    print(mermaid(stacks.resources(stack)), end="")


@app.command()
def env(stack: Stack = "local") -> None:
    """Print what bare `pulumi` needs, for `eval "$(./skerry env)"`."""
    stacks.recover(stack)
    for key, value in sorted(environment(stack).items()):
        print(f"unset {key}" if value is None else f"export {key}={shlex.quote(value)}")


@app.command()
def rehearse(
    names: Annotated[list[str] | None, typer.Argument(metavar="STACK", help="Names of cloud stacks.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every stack of a cloud in stacks/.")] = False,
    project: Annotated[Path, typer.Option(help="Folder with Pulumi.yaml, the program and stacks/.")] = ROOT,
    refusals: Annotated[
        int, typer.Option(min=0, help="Creations that are refused, all stacks together.")
    ] = REFUSALS,
    seed: Annotated[int, typer.Option(help="Chooses those creations.")] = SEED,
) -> None:
    """Run cloud stacks from preview to destroy with stand-ins for the clouds: no account, no network."""
    from cli import rehearse as rehearsals

    rehearsals.rehearse(project.resolve(), names or [], every, refusals, seed)


@app.command()
def schema(
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with the file instead of writing it."),
    ] = False,
) -> None:
    """Write the JSON Schema of stack files, which editors complete from."""
    from components.settings import schema as settings_schema

    settings_schema.main(["--check" if check else "--write"])


@app.command()
def doctor() -> None:
    """Check this machine (also works before anything is set up)."""
    from tools import doctor as checks

    _exit(checks.main([]))


def _report_failed_runs(stack: str) -> int:
    """Prints the failed training runs; 1 if there are any."""
    try:
        found = runs.failed(stacks.resources(stack))
    except EngineError:  # not up
        return 0
    for sentence in found:
        print(f"skerry: {sentence}", file=sys.stderr)
    return int(bool(found))


def _exit(status: int) -> None:
    raise typer.Exit(status)


def main() -> None:
    try:
        app(prog_name="skerry")
    except (EngineError, Problem) as error:
        print(f"skerry: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
