"""Records what a program registers, without an engine.

A program returns what is to be looked at. It is resolved, with everything that was registered on the way,
before `record` returns: an assertion that stands in an `apply` nobody waits for would pass in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, rpc, set_mocks
from pulumi.runtime.mocks import MockMonitor

Answers = Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]
"""Type of a resource -> what its provider computes from its inputs."""
PROVIDER = "pulumi:providers:"


@dataclass
class Registered:
    """One resource as it was registered."""

    urn: str
    kind: str
    name: str
    custom: bool
    inputs: Mapping[str, Any]
    parent: str
    """URN; empty at the root."""
    provider: str
    outputs: Mapping[str, Any] | None = None
    """What a component registered as its outputs; None where it did not."""

    @property
    def is_provider(self) -> bool:
        return self.kind.startswith(PROVIDER)


@dataclass
class Recording:
    """What a program registered, and what it returned, resolved."""

    resources: dict[str, Registered] = field(default_factory=dict)
    returned: Any = None

    def inputs(self) -> dict[str, Mapping[str, Any]]:
        return {urn: resource.inputs for urn, resource in self.resources.items()}

    def of(self, kind: str) -> list[Registered]:
        """Resources whose type ends so."""
        return [resource for resource in self.resources.values() if resource.kind.endswith(kind)]


class _Provider(Mocks):
    """Answers as the providers would."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        computed = self.answers.get(args.typ, lambda _: {})(args.inputs)
        return f"{args.name}-id" if args.custom else "", {**args.inputs, **computed}

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise LookupError(f"{args.token} is called; what a program looks up cannot be known here")


class _Monitor(MockMonitor):
    """Sees also parents, providers, registered outputs and what is registered twice."""

    def __init__(self, answers: Answers, recording: Recording) -> None:
        super().__init__(_Provider(answers))
        self.recording = recording
        self.names = threading.Lock()
        self.taken: set[str] = set()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        urn = self.make_urn(request.parent, request.type, request.name)
        # Registrations run in threads of their own: a name is taken before the answer, not after it.
        with self.names:
            if urn in self.taken:
                raise ValueError(f"{urn} is registered twice")
            self.taken.add(urn)
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            parent = "" if "pulumi:pulumi:Stack" in request.parent.split("::")[-2:] else request.parent
            self.recording.resources[urn] = Registered(
                urn=urn,
                kind=request.type,
                name=request.name,
                custom=request.custom,
                inputs=rpc.deserialize_properties(request.object),
                parent=parent,
                provider=request.provider,
            )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if request.urn in self.recording.resources:
            self.recording.resources[request.urn].outputs = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)


def record(program: Callable[[], Any], answers: Answers, stack: str = "contract") -> Recording:
    """Runs a program to its end, all registrations included."""
    recording = Recording()
    monitor = _Monitor(answers, recording)
    set_mocks(_Provider(answers), project="skerry", stack=stack, preview=False, monitor=monitor)

    def keep(value: Any) -> None:
        recording.returned = value

    @pulumi.runtime.test
    def run() -> pulumi.Output[None]:
        return pulumi.Output.from_input(program()).apply(keep)

    run()
    return recording
