"""Kubernetes objects keep to the OpenAPI schema of their kind, strictly: a key that the schema does not have is an
error, as with `kubectl apply --validate=strict`. The API server itself drops such a key in silence.

The schemas come with the package `kubernetes-validate` (docs/decisions/0024-manifests-and-order.md). An object has to
suit every version of Kubernetes that a cluster of Skerry may start with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from pulumi.output import Unknown
from referencing import Registry, Resource

from components.aws import versions as eks
from components.gcp import versions as gke
from tests.recorder.recording import Recording, Registered

KUBERNETES = "kubernetes:"
VERSIONS = sorted(
    {gke.MINIMUM, *(version for version, row in eks.TABLE.items() if row.support_ends > eks.AS_OF)}
)
"""Minor versions of Kubernetes, from the targets' tables."""
UNCHECKED: Mapping[str, str] = {
    "kubernetes:cloud.google.com/v1:ComputeClass": "a custom resource of GKE: its schema comes with the cluster, and "
    "Google publishes none",
}
"""Type that no schema is known for -> why. Its objects are not checked."""


def misfits(recording: Recording) -> list[str]:
    """What Kubernetes' schemas have against the objects of a recording, a line for each mistake."""
    return [line for made in recording.resources.values() for line in _misfits_of(made)]


def _misfits_of(made: Registered) -> Iterator[str]:
    if not made.custom or made.is_read or not made.kind.startswith(KUBERNETES) or made.kind in UNCHECKED:
        return
    for version in VERSIONS:
        validator = _validator(version, str(made.inputs.get("apiVersion")), str(made.inputs.get("kind")))
        if validator is None:
            yield (
                f"{made} has no schema in Kubernetes {version}. Correct its apiVersion or kind; a custom resource "
                "becomes a row of UNCHECKED in tests/recorder/manifests.py, with the reason."
            )
            continue
        for error in validator.iter_errors(dict(made.inputs)):
            if not isinstance(error.instance, Unknown):  # it is known after `up` only
                where = ".".join(str(step) for step in error.absolute_path) or "the object"
                yield f"{made} does not suit Kubernetes {version}, at {where}: {error.message}"


@cache
def _validator(version: str, api_version: str, kind: str) -> Validator | None:
    """None for a kind that the version does not have."""
    group, _, revision = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], revision)))
    try:
        schema = schema_contents(f"{_folder(version)}/{name}.json", version)
    except FileNotFoundError:
        return None
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    contents = schema_contents(f"{_folder(version)}/_definitions.json", version)
    return Resource.from_contents(contents) @ Registry()


def _folder(version: str) -> str:
    return f"kubernetes-json-schema/v{version}.0-local-strict"
