"""The account of a rehearsal: what exists in it, and which calls it refuses.

One account stands behind all stand-ins, since a rule may concern several packages: a pod of Kubernetes needs an
association of EKS. A rule is one function over the account and a resource. It is asked with two kinds of account:

- that of the stand-ins, which holds what exists at the time of a call;
- the least that the order of a program guarantees (`cli/rehearsal/order.py`), since a call that came too early may find
  what it needs by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from components.local.provider.values import Properties
from tools.rehearsal.package import Resource

Call = Literal["create", "delete"]
Identity = tuple[str, ...]
"""A type, where it has to be unique, and the values that make its name."""


@dataclass(frozen=True)
class Held(Resource):
    """A resource that exists, or is about to."""

    outputs: Properties = field(default_factory=dict[str, Any])
    """Everything that is known of it, the inputs included."""
    before: frozenset[str] = frozenset()
    """URNs of what the program's order puts before it. Empty where the order is not known."""

    @property
    def stack(self) -> str:
        return self.urn.split("::")[0].rpartition(":")[2]

    def at(self, path: str) -> Any:
        """What stands at a path such as `vpcConfig.subnetIds`; None where nothing does. Lists are looked through."""
        found: Any = {**self.outputs, **self.inputs}
        for step in path.split("."):
            if isinstance(found, list):
                found = found[0] if found else None
            found = found.get(step) if isinstance(found, dict) else None
        return found

    @property
    def handles(self) -> set[str]:
        """Texts that others name it by: its id and its ARN. Short ids are left out, since they may be other words."""
        return {
            text
            for text in (self.id, self.outputs.get("arn"))
            if isinstance(text, str) and len(text) >= SHORTEST_HANDLE
        }


SHORTEST_HANDLE = 12


@dataclass(frozen=True)
class Account:
    """What a rule sees."""

    present: Mapping[str, Held]
    """What exists, by URN."""
    known: Mapping[str, Held]
    """That, and everything else that the same programs declare."""
    kept: Collection[Identity] = ()
    """Names that a service keeps, or has made by itself."""
    objects: bool = False
    """Whether every bucket holds objects."""

    def of(self, *types: str) -> Iterator[Held]:
        """What exists of these types."""
        return (held for held in self.present.values() if held.type in types)

    def declared(self, *types: str) -> Iterator[Held]:
        """What the programs declare of these types, whether it exists or not."""
        return (held for held in self.known.values() if held.type in types)

    def lacks(self, held: Held) -> bool:
        return held.urn not in self.present


ALLOWED = ""
Verdict = str | None
"""A refusal in the words of the cloud, `ALLOWED`, or None where the rule does not concern the resource."""


@dataclass(frozen=True)
class Rule:
    """Something that a cloud refuses."""

    name: str
    call: Call
    source: str
    """Where the refusal is documented or reported, and when that was read."""
    verdict: Callable[[Account, Held], Verdict]


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one call."""

    judged: tuple[str, ...]
    """Names of the rules that the resource concerned."""
    refusals: tuple[tuple[str, str], ...]
    """Name of a rule, and the refusal."""


def judge(rules: Collection[Rule], account: Account, call: Call, held: Held) -> Judgement:
    """Asks every rule about a call."""
    verdicts = [(rule.name, rule.verdict(account, held)) for rule in rules if rule.call == call]
    return Judgement(
        tuple(name for name, verdict in verdicts if verdict is not None),
        tuple((name, verdict) for name, verdict in verdicts if verdict),
    )


def texts(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def users(account: Account, held: Held) -> Iterator[Held]:
    """What exists and names a resource in its inputs."""
    for other in account.present.values():
        if other.urn != held.urn and held.handles & set(texts(other.inputs)):
            yield other
