"""The rehearsal's stand-ins as the recorder's answers: what a cloud adds to the inputs of a type."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tools.rehearsal import aws, delays, gcp, kubernetes
from tools.rehearsal.package import Resource, fill

PACKAGES = {
    package.name: package for package in (aws.PACKAGE, gcp.PACKAGE, kubernetes.PACKAGE, delays.PACKAGE)
}
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class StandIns(dict[str, Answer]):
    """An answer for every type and every known function of the packages. What is given goes before the stand-ins."""

    def get(self, kind: str, default: Any = None) -> Any:
        given = super().get(kind)
        if given is not None:
            return given
        return _answer(kind) if kind.partition(":")[0] in PACKAGES else default

    def __contains__(self, kind: object) -> bool:
        """Whether a function may be called; of a type, the recorder only asks for its answer."""
        package = PACKAGES.get(str(kind).partition(":")[0])
        return super().__contains__(kind) or (package is not None and kind in package.invokes)

    def __getitem__(self, kind: str) -> Answer:
        return self.get(kind)

    def __or__(self, more: Any) -> StandIns:
        return StandIns({**self, **more})


class CloudAccount(StandIns):
    """Stand-ins that give the ids and names of a cloud: each resource is found by the id that others name."""

    def made(
        self, kind: str, name: str, inputs: Mapping[str, Any], config: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any]]:
        package = PACKAGES.get(kind.partition(":")[0])
        if package is None:
            return f"{name}-id", {}
        urn = f"urn:pulumi:recorded::skerry::{kind}::{name}"
        resource = Resource(urn, dict(inputs), dict(config))
        complete = package.complete(resource)
        computed = package.computed(replace(resource, inputs=complete))
        identity = computed.pop("id")
        return identity, fill(complete, computed)


def _answer(kind: str) -> Answer:
    package = PACKAGES[kind.partition(":")[0]]
    if kind in package.invokes:
        return lambda arguments: package.invokes[kind](dict(arguments), {})

    def answer(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        # An answer is not told the resource's name: what differs in its inputs is another resource.
        name = hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:8]
        urn = f"urn:pulumi:recorded::skerry::{kind}::{name}"
        complete = package.complete(Resource(urn, dict(inputs), {}))
        return fill(complete, package.computed(Resource(urn, complete, {})))

    return answer
