"""Which stacks a rehearsal takes, and in what order: a stack comes after those that it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from cli.engine import EMBEDDED, EngineError
from cli.stack_yaml import StackFileError, parse

FOLDER = "stacks"
OF_ITS_OWN = ("encryptionsalt", "encryptedkey", "secretsprovider")
"""What belongs to the backend that a stack is really kept in."""
PLACEHOLDER = "a-placeholder-of-a-rehearsal"


@dataclass(frozen=True)
class StackFile:
    """A stack file of a project."""

    project: Path
    name: str

    @property
    def label(self) -> str:
        """How a message calls it."""
        return f"{FOLDER}/Pulumi.{self.name}.yaml"

    @property
    def path(self) -> Path:
        return self.project / self.label

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What stands under `skerry:stack`; the program itself says what is wrong with it."""
        try:
            _, content = parse(self.path, self.label)
        except StackFileError as error:
            raise EngineError(str(error)) from None
        config = content.get("config") if isinstance(content, dict) else None
        settings = config.get("skerry:stack") if isinstance(config, dict) else None
        return settings if isinstance(settings, dict) else {}

    @property
    def embedded(self) -> bool:
        """Whether it needs no cloud."""
        target = self.settings.get("target")
        return isinstance(target, dict) and target.get("name") == EMBEDDED

    @property
    def refers_to(self) -> list[str]:
        """The stacks that its regions are read from."""
        regions = self.settings.get("regions")
        entries = [entry for entry in regions if isinstance(entry, dict)] if isinstance(regions, list) else []
        return [str(entry["stack"]) for entry in entries if entry.get("stack")]

    def copy(self) -> str:
        """The file's text for a throw-away backend: without what belongs to the real one, and with a placeholder for
        each secret, since only the real one can decrypt it. The rest stays letter for letter."""
        text = self.path.read_text()
        for start, end, instead in sorted(_edits(yaml.compose(text)), reverse=True):
            text = text[:start] + instead + text[end:]
        return text


def cloud_stacks(project: Path) -> list[str]:
    """Every stack of a project that needs a cloud.

    Raises:
        EngineError: there is none.
    """
    files = [StackFile(project, name) for name in _known(project)]
    found = [file.name for file in files if not file.embedded]
    if not found:
        raise EngineError(
            f"--all: {FOLDER}/ holds no stack of a cloud. Add a file {FOLDER}/Pulumi.NAME.yaml."
        )
    return found


def plan(project: Path, names: Sequence[str]) -> list[StackFile]:
    """The named stacks and those that they refer to, each after those.

    Raises:
        EngineError: a folder that is no project, a stack without a file, one that needs no rehearsal, or stacks that
            refer to each other in a circle.
    """
    if not (project / "Pulumi.yaml").is_file():
        raise EngineError(f"--project: {project} holds no Pulumi.yaml. Name the folder of a Pulumi project.")
    files: dict[str, StackFile] = {}
    waiting = [(name, "") for name in names]
    while waiting:
        name, why = waiting.pop(0)
        if name in files:
            continue
        files[name] = file = _checked(StackFile(project, name), why)
        waiting += [(other, f"{file.label}: regions: stack: ") for other in file.refers_to]
    graph = {name: file.refers_to for name, file in files.items()}
    try:
        return [files[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise EngineError(
            f"regions: stack: {circle}: these stacks refer to each other in a circle. A stack can only read one that "
            "is up before it; remove one of the references."
        ) from None


def _checked(file: StackFile, why: str) -> StackFile:
    if not file.path.is_file():
        known = ", ".join(_known(file.project)) or "none"
        raise EngineError(
            f"{why}{file.name!r} has no file {file.label}. A rehearsal runs a stack from its file, and with it those "
            f"that it refers to. Correct the name or write the file; stacks of this project: {known}."
        )
    if file.embedded:
        raise EngineError(
            f"{why}{file.name!r} has target.name: {EMBEDDED!r} and needs no rehearsal: `make up` really runs it."
        )
    return file


def _known(project: Path) -> list[str]:
    paths = (project / FOLDER).glob("Pulumi.*.yaml")
    return sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in paths)


def _edits(node: yaml.Node | None) -> Iterator[tuple[int, int, str]]:
    """Where the text of a file is replaced, from and to which letter, and by what."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value in OF_ITS_OWN and key.start_mark.column == 0:
                yield key.start_mark.index, value.end_mark.index, ""
        yield from _secrets(node)


def _secrets(node: yaml.Node) -> Iterator[tuple[int, int, str]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _secrets(item)
    elif isinstance(node, yaml.MappingNode):
        if [key.value for key, _ in node.value] == ["secure"]:
            # The mark behind a block stands in front of the next key; the one behind its value does not.
            end = node.end_mark if node.flow_style else node.value[0][1].end_mark
            yield node.start_mark.index, end.index, PLACEHOLDER
        else:
            for _, value in node.value:
                yield from _secrets(value)
