"""No object of Kubernetes is recorded whose keys its schema does not have."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes.core.v1 import ResourceQuota, ServiceAccount

from tests.contract.boxes import Box, Provider, inside
from tests.contract.clusters import STACKS, whole
from tests.recorder import Recording, Registered, record
from tests.recorder.manifests import KUBERNETES, UNCHECKED, misfits
from tests.stand_ins import StandIns

FREE = {"annotations", "hard", "labels", "limits", "matchLabels", "nodeSelector", "requests"}
"""Maps whose keys an object chooses for itself."""
FREE_IN = {("ConfigMap", "data"), ("Service", "selector")}
"""The same, of one kind alone."""
KINDS = (
    "Deployment",
    "HorizontalPodAutoscaler",
    "Job",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PriorityClass",
    "Role",
    "Service",
    "ServiceAccount",
)
Path = tuple[str | int, ...]


def objects() -> list[Registered]:
    """Every object of the stacks with clusters."""
    found = (made for path in STACKS for made in whole(path).resources.values())
    return [made for made in found if made.custom and made.kind.startswith(KUBERNETES)]


def keys(value: Any, kind: str, path: Path = ()) -> Iterator[Path]:
    """The paths of all keys that the schema decides."""
    if isinstance(value, Mapping):
        if path and (path[-1] in FREE or (kind, path[-1]) in FREE_IN):
            return
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, kind, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from keys(inner, kind, (*path, index))


def misspelt(inputs: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The same inputs with one key misspelt: two letters change their places."""
    changed: Any = copy.deepcopy(dict(inputs))
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    key = str(path[-1])
    holder[f"{key[1]}{key[0]}{key[2:]}"] = holder.pop(key)
    return changed


def planted(made: Registered, inputs: Mapping[str, Any]) -> Recording:
    """A program that registers an object with these inputs."""

    def children(box: Box, _: Any) -> None:
        pulumi.CustomResource(made.kind, made.name, dict(inputs), inside(box))

    def program() -> None:
        Box("box", children, pulumi.ResourceOptions(providers=[Provider("kubernetes")]))

    return record(program, StandIns())


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_fails_for_a_misspelt_key_wherever_it_is_in_an_object(kind: str) -> None:
    made = max((one for one in objects() if one.is_of(f":{kind}")), key=lambda one: len(str(one.inputs)))
    planted(made, made.inputs)
    fields = {tuple(step for step in path if isinstance(step, str)): path for path in keys(made.inputs, kind)}
    paths = [path for field, path in fields.items() if field not in {("kind",), ("apiVersion",)}]
    assert ("metadata", "name") in paths
    recording = Recording()
    for path in paths:
        recording.resources = {made.urn: copy.copy(made)}
        recording.resources[made.urn].inputs = misspelt(made.inputs, path)
        assert misfits(recording), path
    deepest = max(paths, key=len)
    with pytest.raises(AssertionError, match="Kubernetes does not know these objects") as caught:
        planted(made, misspelt(made.inputs, deepest))
    assert "Additional properties are not allowed" in str(caught.value) and made.name in str(caught.value)


SDK: dict[str, Callable[[pulumi.ResourceOptions], Any]] = {
    "namespaces": lambda opts: ServiceAccount("made", metadata={"namespaces": "b"}, opts=opts),  # pyright: ignore[reportArgumentType]
    "hrad": lambda opts: ResourceQuota("made", spec={"hrad": {"pods": "1"}}, opts=opts),  # pyright: ignore[reportArgumentType]
}
"""Misspelt key -> an object whose SDK takes it as it is."""


@pytest.mark.parametrize("key", SDK)
def test_a_misspelt_key_that_the_sdk_takes_in_a_dict_fails(key: str) -> None:
    def program() -> None:
        opts = pulumi.ResourceOptions(providers=[Provider("kubernetes")])
        Box("box", lambda box, _: SDK[key](inside(box)), opts)

    with pytest.raises(AssertionError, match=f"'made' does not suit Kubernetes .*'{key}' was unexpected"):
        record(program, StandIns())


def test_a_kind_without_a_schema_is_refused_unless_it_is_listed() -> None:
    made = objects()[0]
    with pytest.raises(AssertionError, match="has no schema in Kubernetes .* a row of UNCHECKED"):
        planted(made, {**made.inputs, "apiVersion": "v1", "kind": "ServiceAcount"})


def test_each_kind_that_is_not_checked_has_a_reason_and_is_in_use() -> None:
    assert all(len(reason) > 20 for reason in UNCHECKED.values())
    assert {made.kind for made in objects()} >= set(UNCHECKED)
