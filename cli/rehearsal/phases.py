"""The phases of a rehearsal, and what each of them took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cli.engine import EngineError
from cli.rehearsal.order import Judged, held
from cli.rehearsal.plan import StackFile
from cli.rehearsal.stage import Done, Stage
from tools.progress import say
from tools.rehearsal.account import Held

UP = {
    "preview": ("preview",),
    "up": ("up", "--yes", "--skip-preview"),
    "second preview": ("preview", "--expect-no-changes"),
}
WITH_DATA, REFUSED = "destroy with data", "refused up"
DOWN = {"destroy": ("destroy", "--yes", "--skip-preview")}
AGAIN = {
    "up again": UP["up"],
    "last preview": UP["second preview"],
}
PHASES = (*UP, WITH_DATA, *DOWN, REFUSED, *AGAIN)
CHANGED = (
    "The program declares something else than a moment ago: a random number, a time, an order that is not fixed; or an "
    "input is wired from an output that the stand-in does not give (docs/how-to/rehearse.md)."
)
EMPTY = "empty-program"
BUILT_IN = ("pulumi:providers:pulumi", "pulumi:pulumi:Stack", "pulumi:pulumi:StackReference")
"""Types that the engine answers for by itself."""


@dataclass
class Rehearsed:
    """A stack that was rehearsed."""

    stack: str
    types: Counter[str] = field(default_factory=Counter[str])
    """Resources that a stand-in answered for, the providers among them."""
    runs: dict[str, Done] = field(default_factory=dict[str, Done])
    """By phase. A stack without buckets has no `destroy with data`."""
    judged: Judged = field(default_factory=dict[str, set[str]])
    """Rule -> URNs of the resources that it judged."""
    refusals: int = 0
    """Creations that were refused in the middle of an `up`, which the next `up` then made."""

    @property
    def warnings(self) -> list[str]:
        """What the engine and the stand-ins warned of, each once."""
        lines = (line for run in self.runs.values() for line in run.text.splitlines())
        found = (line.partition("warning: ")[2].strip() for line in lines)
        return list(dict.fromkeys(filter(None, found)))

    @property
    def peak_mb(self) -> float:
        return max(run.peak_mb for run in self.runs.values())

    def add(self, phase: str, done: Done) -> None:
        """Notes a run; a phase of several runs takes as long as all of them."""
        if before := self.runs.get(phase):
            peak = max(before.peak_mb, done.peak_mb)
            done = Done(done.status, before.text + done.text, before.seconds + done.seconds, peak)
        self.runs[phase] = done


@dataclass(frozen=True)
class Program:
    """A stack with its program, on a stage."""

    stage: Stage
    folder: Path
    stack: str
    config: Path

    def play(self, told: Rehearsed, phases: Mapping[str, tuple[str, ...]]) -> None:
        """Runs phases one after the other; raises `EngineError` at the first that fails."""
        for phase, arguments in phases.items():
            done = self.run(told, phase, arguments)
            if done.status != 0:
                reason = f" {CHANGED}" if "--expect-no-changes" in arguments else ""
                raise self.error(f"{phase} failed.{reason}", done)

    def run(self, told: Rehearsed, phase: str, arguments: tuple[str, ...]) -> Done:
        """Runs the engine once, whatever comes of it."""
        say(f"{self.stack}: {phase}")
        done = self.stage.run(
            self.folder, *arguments, "--stack", self.stack, "--config-file", str(self.config)
        )
        told.add(phase, done)
        return done

    def error(self, what: str, done: Done) -> EngineError:
        return EngineError(f"{self.stack}: {what} The engine says:\n{done.text.strip()}")

    def unprotect(self) -> None:
        """Lets the stack's protected resources go, as a user does who removes data on purpose."""
        done = self.stage.run(self.folder, "state", "unprotect", "--all", "--yes", "--stack", self.stack)
        if done.status != 0:
            raise self.error("the engine could not unprotect the stack.", done)

    def resources(self) -> dict[str, Held]:
        """What is up, by URN."""
        return held(self._state())

    def count(self, told: Rehearsed) -> None:
        """Counts what is up."""
        resources = self._state()["deployment"].get("resources") or []
        told.types.update(
            entry["type"] for entry in resources if entry.get("custom") and entry["type"] not in BUILT_IN
        )

    def _state(self) -> Any:
        return self.stage.read(self.folder, "stack", "export", "--stack", self.stack, "--show-secrets")


def empty_project(stage: Stage, project: Path) -> Path:
    """A project of the same name and runtime whose program declares nothing. Stacks are made in it, since the engine
    writes into the project in which it makes one."""
    content = yaml.safe_load((project / "Pulumi.yaml").read_text())
    runtime = content["runtime"]
    if isinstance(runtime, dict) and (virtualenv := (runtime.get("options") or {}).get("virtualenv")):
        runtime["options"]["virtualenv"] = str((project / virtualenv).resolve())
    folder = stage.folder / "empty"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": content["name"], "runtime": runtime}))
    (folder / "__main__.py").write_text("")
    return folder


def program(stage: Stage, nothing: Path, stack: str, config: str, folder: Path) -> Program:
    """Makes a stack in the throw-away backend."""
    path = stage.folder / f"{stack}.yaml"
    path.write_text(config)
    made = stage.run(nothing, "stack", "init", stack, "--no-select")
    if made.status != 0:
        raise EngineError(f"{stack}: the engine could not make the stack:\n{made.text.strip()}")
    return Program(stage, folder, stack, path)


def programs(stage: Stage, project: Path, nothing: Path, files: Sequence[StackFile]) -> list[Program]:
    """The programs of these stack files."""
    return [program(stage, nothing, file.name, file.copy(), project) for file in files]
