"""Every stack file whose regions are clusters, recorded as a whole, and the pods in such a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from components import assembly
from components.settings.items import Layer
from components.settings.load import load_stack_settings
from tests.contract.targets import CLUSTERS
from tests.recorder import Recording, Registered, record
from tests.stand_ins import CloudAccount
from tests.unit.settings.files import FILES, settings_of

STACKS = [
    path
    for path in FILES
    for settings in [load_stack_settings(settings_of(path))]
    if settings.target.name in CLUSTERS and settings.holds(Layer.PLATFORM)
]
"""Stack files and fixtures that make clusters."""


@cache
def whole(path: Path) -> Recording:
    """All resources of a stack file, recorded once."""

    def program() -> Any:
        settings = load_stack_settings(settings_of(path))
        target = assembly.target_of(settings)
        regions = assembly.build_regions(target, settings)
        return assembly.outputs(regions, assembly.build_global_load_balancer(target, regions, settings))

    return record(program, CloudAccount())


def pods_in(recording: Recording) -> Iterator[tuple[Registered, Mapping[str, Any]]]:
    """Each workload with the spec of its pods, those of kube-system included."""
    for made in recording.resources.values():
        if made.kind.startswith("kubernetes:") and "template" in made.inputs.get("spec", {}):
            yield made, made.inputs["spec"]["template"]["spec"]
