"""YAML as a stack file may have it: what JSON, in which the engine passes the settings on, cannot hold is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

EXPLAINED = "stacks/README.md explains the keys"
DEEPEST = 64
"""Levels of lists and mappings. No stack file needs 20; Python's parsers fail at some hundreds."""
LARGEST = 100_000
"""Values of a file, each alias counted as what it repeats. The largest stack file of this project has below 1,000."""
DATES = "tag:yaml.org,2002:timestamp"


class StackFileError(Exception):
    """What is wrong with a stack file, and what to do."""


class _Refusal(yaml.MarkedYAMLError):
    """A rule that a place in a file breaks, with its remedy."""

    def __init__(self, node: yaml.Node | yaml.Event, what: str) -> None:
        super().__init__(problem=what, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys, keys that are not text, values that JSON does not have, and nesting that is too deep."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Refusal(
                self.peek_event(), f"is nested deeper than {DEEPEST} levels. Close brackets further up"
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_document(self, node: yaml.Node) -> Any:
        _check_aliases(node)
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise _Refusal(key, "a key must be text, not a list or a mapping. Write a word and a colon")
            if key.value in seen:
                rule = f"key {key.value!r} is already in line {seen[key.value]}, and the engine would take one of them"
                raise _Refusal(key, f"{rule}. Remove one")
            seen[key.value] = line
        return super().construct_mapping(node, deep)

    def construct_scalar_or_refuse(self, node: yaml.ScalarNode) -> object:
        """A value by PyYAML's constructor of its kind, which raises errors of many classes for what it cannot read."""
        kind = node.tag.rpartition(":")[2]
        try:
            value = yaml.SafeLoader.yaml_constructors[node.tag](self, node)
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            raise _Refusal(node, f"{node.value!r} is not a valid {kind}. Put text in quotes") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _Refusal(node, f"{node.value} is not a finite number. Write a number")
        return value

    def refuse_tag(self, node: yaml.Node) -> None:
        raise _Refusal(node, f"tag {node.tag!r} is not known here. Remove it, and put text in quotes")


for _kind in ("bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_scalar_or_refuse)
for _kind in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.refuse_tag)
_Loader.add_constructor(None, _Loader.refuse_tag)  # pyright: ignore[reportArgumentType]


def _check_aliases(document: yaml.Node) -> None:
    """Refuses a value that contains itself, and aliases that repeat too much."""
    count = 0

    def check(node: yaml.Node, above: tuple[yaml.Node, ...]) -> None:
        nonlocal count
        count += 1
        if any(node is other for other in above):
            raise _Refusal(node, "contains itself by an alias. Write the value instead of the alias")
        if len(above) >= DEEPEST:
            raise _Refusal(node, f"is nested deeper than {DEEPEST} levels by aliases. Use fewer of them")
        if count > LARGEST:
            raise _Refusal(node, f"aliases make more than {LARGEST:,} values of the file. Use fewer of them")
        for child in _children(node):
            check(child, (*above, node))

    check(document, ())


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def parse(path: Path, label: str) -> tuple[str, Any]:
    """The text of a stack file, which `label` names, and its content.

    Raises:
        StackFileError: it cannot be read, is not UTF-8, or not YAML that JSON can hold.
    """
    try:
        given = path.read_bytes()
    except OSError as error:
        raise StackFileError(
            f"{label}: cannot be read ({error.strerror}). Make it a readable file."
        ) from None
    try:
        text = given.decode()
    except UnicodeDecodeError as error:
        line = given.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{given[error.start]:02x} is not UTF-8. Save the file as UTF-8"
        raise StackFileError(f"{label}, line {line}: {what}.") from None
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"character U+{error.character:04X} is not allowed in YAML. Remove it"
        raise StackFileError(f"{label}, line {line}: {what}.") from None
    try:
        return text, loader.get_single_data()
    except _Refusal as error:
        raise StackFileError(f"{label}{_at(error)}: {error.problem}.") from None
    except yaml.MarkedYAMLError as error:
        raise StackFileError(
            f"{label}{_at(error)}: is no YAML: {error}. Correct that line; {EXPLAINED}."
        ) from None
    except (ValueError, OverflowError) as error:  # of PyYAML's scanner, such as for "\\UFFFFFFFF"
        where = f"{label}, line {loader.line + 1}"
        raise StackFileError(f"{where}: is no YAML: {error}. Correct that line; {EXPLAINED}.") from None


def _at(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f", line {mark.line + 1}" if mark else ""
