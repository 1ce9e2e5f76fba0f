"""What a program registered, and questions about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.recorder.patterns import mismatches

PROVIDER = "pulumi:providers:"
STACK_REFERENCE = "pulumi:pulumi:StackReference"


@dataclass
class Registered:
    """One resource as it was registered, or read.

    Inputs and outputs have the engine's names. A secret stands there as it is, unmarked; which ones are secret is
    told beside them. A resource that is given as an input stands there as its id, a component as its URN.
    """

    urn: str
    kind: str
    """Type token, such as `aws:s3/bucket:Bucket`."""
    name: str
    custom: bool
    """False for a component."""
    inputs: Mapping[str, Any]
    parent: str
    """URN; empty at the root."""
    provider: str
    """Reference `urn::id`; empty where the default provider would be used, and for a component that is made here."""
    providers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Package -> reference, for what stands in a component."""
    dependencies: frozenset[str] = frozenset()
    """URNs, from `depends_on` and from inputs; instead of a component what stands in it."""
    property_dependencies: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Input -> URNs that it was made from."""
    aliases: tuple[str | Mapping[str, Any], ...] = ()
    """URNs, or what differs in the earlier one, such as `{"name": "old"}`."""
    protect: bool = False
    """Also where the parent passes it on."""
    retain_on_delete: bool = False
    delete_before_replace: bool = False
    ignore_changes: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Call (create, update, delete) -> how long the engine waits, where it is not the provider's own time."""
    additional_secret_outputs: tuple[str, ...] = ()
    secret_inputs: frozenset[str] = frozenset()
    """Inputs that are secret or hold something secret."""
    id: str = ""
    """What the engine was answered as its id; empty for a component."""
    computed: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """What the provider answered: the inputs, and what it adds."""
    is_read: bool = False
    """Only read (`get`, a stack reference), not made."""
    outputs: Mapping[str, Any] | None = None
    """What a component registered as its outputs; None where it did not."""
    secret_outputs: frozenset[str] = frozenset()
    """Outputs, of those, that are secret or hold something secret."""
    markers: tuple[str, ...] = field(default=(), repr=False)
    """Of the components whose options it was given, its own last; see `conduct.py`."""

    @property
    def is_provider(self) -> bool:
        return self.kind.startswith(PROVIDER)

    @property
    def is_stack_reference(self) -> bool:
        return self.kind == STACK_REFERENCE

    def is_of(self, kind: str) -> bool:
        """True for the type's token and for its ending from a colon on, with the colon or without it."""
        return self.kind == kind or self.kind.endswith(":" + kind.removeprefix(":"))

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Call:
    """A function of a provider that was called."""

    token: str
    """Such as `aws:ec2/getAmi:getAmi`."""
    args: Mapping[str, Any]
    provider: str
    """Reference `urn::id`; empty where the default provider would be asked."""


@dataclass
class Recording:
    """What a program registered, and what it returned, resolved."""

    resources: dict[str, Registered] = field(default_factory=dict[str, Registered])
    """By URN, in the order in which the engine would have had them."""
    calls: list[Call] = field(default_factory=list[Call])
    returned: Any = None
    returned_after: frozenset[str] = frozenset()
    """URNs of what had to be there before what the program returned was known."""
    inner: set[str] = field(default_factory=set[str], repr=False)
    """Markers of components that were made in another's constructor; see `conduct.py`."""

    def inputs(self) -> dict[str, Mapping[str, Any]]:
        return {urn: resource.inputs for urn, resource in self.resources.items()}

    def of(self, kind: str) -> list[Registered]:
        """All resources of a type, given as its token or the token's ending (`Bucket`, `apps/v1:Deployment`).

        They come by name: what does not wait for each other is registered in any order.
        """
        return sorted((made for made in self.resources.values() if made.is_of(kind)), key=_by_name)

    def one(self, kind: str, name: str | None = None) -> Registered:
        """The one resource of a type, or of that name among them."""
        found = [made for made in self.of(kind) if name in (None, made.name)]
        if len(found) != 1:
            wanted = kind if name is None else f"{kind} {name!r}"
            raise AssertionError(f"expected one {wanted}, found {len(found)}. {self._registered()}")
        return found[0]

    def count(self, kind: str, number: int) -> None:
        """There are so many resources of a type."""
        found = self.of(kind)
        if len(found) != number:
            raise AssertionError(f"expected {number} of {kind}, found {len(found)}. {self._registered()}")

    def expect(self, kind: str, pattern: Mapping[str, Any]) -> Registered:
        """The first resource of a type whose inputs match; see `patterns.py`."""
        found = self._some(kind)
        differences = [mismatches(pattern, made.inputs) for made in found]
        least = min(differences, key=len)
        closest = found[differences.index(least)]
        if least:
            raise AssertionError(
                f"no {kind} matches, of {len(found)}. The closest is {closest.name!r}:\n"
                + "".join(f"  {line}\n" for line in least)
                + f"Its inputs: {_printed(closest.inputs)}"
            )
        return closest

    def none(self, kind: str, pattern: Mapping[str, Any]) -> None:
        """There are resources of a type, and the inputs of none match. `count(kind, 0)` says that there are none."""
        for made in self._some(kind):
            if not mismatches(pattern, made.inputs):
                raise AssertionError(f"{made} matches {pattern!r}. Its inputs: {_printed(made.inputs)}")

    def provider_of(self, made: Registered) -> Registered:
        """The provider that makes a resource."""
        urn = made.provider.rpartition("::")[0]
        if urn not in self.resources:
            raise AssertionError(f"{made} has no provider of its own: the engine would use the default one")
        return self.resources[urn]

    def ancestors(self, made: Registered) -> Iterator[Registered]:
        """What a resource stands in, from its parent outwards."""
        while made.parent in self.resources:
            made = self.resources[made.parent]
            yield made

    def _some(self, kind: str) -> list[Registered]:
        if found := self.of(kind):
            return found
        raise AssertionError(f"there is no {kind}. {self._registered()}")

    def _registered(self) -> str:
        return "Registered:" + "".join(f"\n  {one}" for one in sorted(map(str, self.resources.values())))


def _by_name(made: Registered) -> tuple[str, str]:
    return made.name, made.urn


def _printed(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, indent=2, sort_keys=True, default=lambda value: f"<{type(value).__name__}>")
