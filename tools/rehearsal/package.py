"""What a stand-in knows of its cloud: tables from a type, or an invoke's token, to what the cloud would add."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from components.local.provider.values import UNKNOWN, Properties


@dataclass(frozen=True)
class Resource:
    """A resource that a stand-in is asked for."""

    urn: str
    inputs: Properties
    config: Properties
    """What its provider was configured with, such as `region`."""
    id: str = ""
    """Its id, when it exists already."""
    life: int = 0
    """How often it was made before: a second one gets another id, and another name where none is given."""

    @property
    def type(self) -> str:
        """Such as aws:ec2/vpc:Vpc."""
        return self.urn.split("::")[2].rpartition("$")[2]

    @property
    def module(self) -> str:
        """The first part of the type's module, such as ec2."""
        return self.type.split(":")[1].partition("/")[0]

    @property
    def kind(self) -> str:
        """The last part of the type, such as Vpc."""
        return self.type.rpartition(":")[2]

    @property
    def name(self) -> str:
        """Its logical name."""
        return self.urn.rpartition("::")[2]

    @property
    def hex(self) -> str:
        """Hexadecimal digits that are the same whenever this resource is asked for in one life."""
        return hashlib.sha256(f"{self.urn}{self.life or ''}".encode()).hexdigest()

    @property
    def autoname(self) -> str:
        """The name that a provider makes up where none is given."""
        return f"{self.name}-{self.hex[:7]}"

    @property
    def number(self) -> int:
        """A number from 1 to 254, for an address."""
        return 1 + int(self.hex[:8], 16) % 254


Row = Callable[[Resource], Properties]
"""What the cloud adds to the inputs of one type; `id` among it, where the default's does not fit."""
Answer = Callable[[Properties, Properties], Properties]
"""An invoke's result, from its arguments and the provider's configuration."""


@dataclass(frozen=True)
class Package:
    """One stand-in."""

    name: str
    source: str
    """The file that holds its tables, for whoever has to add a row."""
    default: Row
    """For every type. It gives an `id`."""
    rows: Mapping[str, Row]
    """For the types whose outputs are wired onward; they go before the default."""
    invokes: Mapping[str, Answer]
    complete: Callable[[Resource], Properties] = lambda resource: resource.inputs
    """The inputs, with what the provider decides before it makes anything."""
    pinned: str = ""
    """Version of the plugin, where no SDK named `pulumi-NAME` is installed."""

    @property
    def version(self) -> str:
        """Version of the SDK in use: the engine warns of a plugin that is older."""
        return self.pinned or version(f"pulumi-{self.name}")

    def computed(self, resource: Resource) -> Properties:
        """What the cloud adds, the id included."""
        row = self.rows.get(resource.type, lambda _: {})
        return {**self.default(resource), **row(resource)}


def fill(given: Any, more: Any) -> Any:
    """`given`, completed by what stands only in `more`; what was declared is never overridden."""
    if isinstance(given, dict) and isinstance(more, dict):
        common = {key: fill(value, more[key]) if key in more else value for key, value in given.items()}
        return {**more, **common}
    if isinstance(given, list) and isinstance(more, list) and len(given) == len(more):
        return [fill(*pair) for pair in zip(given, more, strict=True)]
    return given


def unknown(value: Any) -> Any:
    """The same shape, with each value known only after `up`."""
    if isinstance(value, dict):
        return {key: unknown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unknown(item) for item in value]
    return UNKNOWN


def changed(old: Properties, new: Properties) -> list[str]:
    """Keys whose values differ, an unknown one included."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
