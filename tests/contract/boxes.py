"""Components and resources that the recorder is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
from pulumi import ResourceOptions

Children = Callable[["Box", ResourceOptions | None], Any]
"""Makes what stands in a box; is given the box, and the options that the box was given."""


class Box(pulumi.ComponentResource):
    """A component whose children each test chooses; what they are is kept as `made`."""

    def __init__(
        self,
        name: str,
        children: Children = lambda box, opts: None,
        opts: ResourceOptions | None = None,
        outputs: Mapping[str, Any] | None = None,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("skerry:index:Box", name, args or {}, opts)
        self.made = children(self, opts)
        self.register_outputs(outputs or {})


class Thing(pulumi.CustomResource):
    """A resource with one computed output, which `ANSWERS` knows."""

    color: pulumi.Output[str]
    size: pulumi.Output[Any]

    def __init__(
        self, name: str, opts: ResourceOptions | None = None, inputs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__("test:index:Thing", name, {"color": "red", "size": None, **(inputs or {})}, opts)


class Provider(pulumi.ProviderResource):
    """The provider of `Thing`."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("test", name, {"region": "here"}, opts)


ANSWERS: Any = {"test:index:Thing": lambda inputs: {"size": 7}}


def inside(component: pulumi.Resource) -> ResourceOptions:
    return ResourceOptions(parent=component)


def refuse(value: Any) -> None:
    raise AssertionError(f"{value} is not what was expected")
