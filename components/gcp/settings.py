"""Settings of target `gcp`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from components.gcp.dials import SMALLEST_DIAL
from components.k8s.settings import ClusterTarget, cluster_rules
from components.settings.base import Frozen
from components.settings.mistakes import Mistake
from components.settings.networks import Cidr, ranges_are_sound
from components.settings.parts import Parts

PROJECT_PATTERN = r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$"
ZONE_PATTERN = r"^[a-z]+-[a-z]+[0-9]+-[a-z]$"
PATTERNS = {
    PROJECT_PATTERN: "a project is 6 to 30 lower-case letters, digits and '-', a letter first",
    ZONE_PATTERN: "a zone is a region and a letter, such as us-central1-a",
}
"""Pattern -> the rule in words, for `components.settings.load`."""

PREFIXES = {"nodes": (8, 26), "pods": (9, 21), "services": (16, 27), "control_plane": (28, 28)}
"""Range -> shortest and longest prefix that GKE takes. Source: Google's page on creating VPC-native clusters, and on
private clusters for the control plane's /28."""


class GcpNetwork(Frozen):
    """The network of one region."""

    nodes: Cidr = Field(description="Primary range of the subnet.")
    pods: Cidr = Field(description="Secondary range of the pods; a node takes a /24 of it.")
    services: Cidr = Field(description="Secondary range of the Services.")
    control_plane: Cidr = Field(description="Range of the private control plane, a /28.")
    zones: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=ZONE_PATTERN)], ...], Field(min_length=2, max_length=4)
    ] = Field(description="Zones of the nodes.")


class GcpTarget(ClusterTarget):
    """GKE in one or more regions of a project."""

    name: Annotated[Literal["gcp"], Field(description="Regions are clusters of GKE.")]
    project: Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)] = Field(description="Project's id.")
    networks: Mapping[str, GcpNetwork] = Field(
        default={}, description="The network of each region, by its name."
    )


def gcp_rules(parts: Parts, target: GcpTarget) -> Iterable[Mistake]:
    """Rules that hold on GCP only."""
    yield from cluster_rules(parts, target, target.networks, "gs://")
    ranges = {
        f"target.networks.{region}.{use}": (getattr(network, use), sizes)
        for region, network in target.networks.items()
        for use, sizes in PREFIXES.items()
    }
    yield from ranges_are_sound(
        {path: cidr for path, (cidr, _) in ranges.items()},
        {path: sizes for path, (_, sizes) in ranges.items()},
    )
    for region, network in target.networks.items():
        for index, zone in enumerate(network.zones):
            if zone.rpartition("-")[0] != region:
                yield Mistake(
                    f"target.networks.{region}.zones[{index}]",
                    zone,
                    f"is no zone of region {region!r}",
                    f"Choose zones such as {region}-a",
                )
        if len(set(network.zones)) < len(network.zones):
            yield Mistake(
                f"target.networks.{region}.zones",
                list(network.zones),
                "names a zone twice",
                "Choose different zones",
            )
    for index, region in parts.regions:
        if not region.drained and region.dial < SMALLEST_DIAL:
            yield Mistake(
                f"regions[{index}].dial",
                region.dial,
                f"a backend's capacity scaler is 0, which drains, or {SMALLEST_DIAL} to 1.0",
                f"Choose at least {SMALLEST_DIAL}, or say `drained: true`",
            )
