"""Settings of target `gcp`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from components.catalog.accelerators import accelerators_in, accelerators_on, machine
from components.gcp.dials import SMALLEST_DIAL
from components.gcp.ranges import HOLDS, PREFIXES, SYSTEM_NODES_PER_ZONE, longest_prefix
from components.gcp.slices import hosts_of
from components.k8s.reserved import reservation_has_its_machine
from components.k8s.settings import ClusterTarget, cluster_rules
from components.settings.base import Frozen, Name
from components.settings.mistakes import Mistake
from components.settings.networks import Cidr, ranges_are_sound
from components.settings.parts import Parts

PROJECT_PATTERN = r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$"
ZONE_PATTERN = r"^[a-z]+-[a-z]+[0-9]+-[a-z]$"
PATTERNS = {
    PROJECT_PATTERN: "a project's id is 6 to 30 lower-case letters, digits and '-', a letter first, no '-' last",
    ZONE_PATTERN: "a zone is a region and a letter, such as us-central1-a",
}
"""Pattern -> the rule in words, for `components.settings.load`."""

Zone = Annotated[str, StringConstraints(pattern=ZONE_PATTERN)]


def region_of(zone: str) -> str:
    """Region of a zone."""
    return zone.rpartition("-")[0]


class GcpNetwork(Frozen):
    """The network of one region."""

    nodes: Cidr = Field(description="Primary range of the subnet: a node takes an address.")
    pods: Cidr = Field(description="Secondary range of the pods: a node takes a /24.")
    services: Cidr = Field(description="Secondary range of the Services.")
    zones: Annotated[tuple[Zone, ...], Field(min_length=2, max_length=4)] = Field(
        description="Zones of the nodes."
    )
    accelerator_zones: Mapping[Name, Annotated[tuple[Zone, ...], Field(min_length=1)]] = Field(
        default={},
        description="Accelerator -> those of the zones that offer it, where it differs from the catalog's listing or "
        "has none, as for T4 and TPUs. "
        "Google has many in some zones of a region only, and refuses a node pool that names another.",
    )

    def zones_with(self, accelerator: str) -> tuple[str, ...]:
        """Zones for nodes with an accelerator: those that are set for it, otherwise those that the catalog lists.
        Machines without an accelerator are taken to be in every zone."""
        row = machine("gcp", accelerator)
        offering = (
            zone for zone in self.zones if row.count == 0 or zone in row.zones.get(region_of(zone), ())
        )
        return self.accelerator_zones.get(accelerator) or tuple(offering)


class GcpTarget(ClusterTarget):
    """GKE in one or more regions of a project."""

    name: Annotated[Literal["gcp"], Field(description="Regions are clusters of GKE.")]
    project: Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)] = Field(description="Project's id.")
    project_number: Annotated[int, Field(ge=1, lt=2**63)] = Field(
        description="Project's number: identities of pods and of Google's own agents are made of it. "
        "`gcloud projects describe PROJECT --format='value(projectNumber)'` tells it."
    )
    networks: Mapping[str, GcpNetwork] = Field(
        default={}, description="The network of each region, by its name."
    )
    requests_per_gateway: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100,
        description="Requests per second that one pod of a region's gateway is said to hold. What exceeds them goes to "
        "the next nearest region, and a region's dial multiplies them.",
    )


def gcp_rules(parts: Parts, target: GcpTarget) -> Iterable[Mistake]:
    """Rules that hold on GCP only."""
    yield from cluster_rules(parts, target, target.name, target.networks, "gs://")
    yield from _ranges(target)
    for region, network in target.networks.items():
        path = f"target.networks.{region}"
        yield from _zones(path, region, network)
        yield from _nodes_fit(path, network, parts)
        yield from _pools_have_zones(region, network, parts)
    yield from _slices_are_whole(parts)
    for index, region in parts.regions:
        if not region.drained and region.dial < SMALLEST_DIAL:
            yield Mistake(
                f"regions[{index}].dial",
                region.dial,
                f"a backend's capacity scaler is 0, which drains, or {SMALLEST_DIAL} to 1.0",
                f"Choose at least {SMALLEST_DIAL}, or say `drained: true`",
            )


def _ranges(target: GcpTarget) -> Iterable[Mistake]:
    ranges = {
        f"target.networks.{region}.{use}": (getattr(network, use), sizes)
        for region, network in target.networks.items()
        for use, sizes in PREFIXES.items()
    }
    yield from ranges_are_sound(
        {path: cidr for path, (cidr, _) in ranges.items()},
        {path: sizes for path, (_, sizes) in ranges.items()},
    )


def _zones(path: str, region: str, network: GcpNetwork) -> Iterable[Mistake]:
    for index, zone in enumerate(network.zones):
        place = f"{path}.zones[{index}]"
        if region_of(zone) != region:
            yield Mistake(place, zone, f"is no zone of region {region!r}", f"Choose zones such as {region}-a")
    for accelerator, zones in network.accelerator_zones.items():
        place = f"{path}.accelerator_zones.{accelerator}"
        if accelerator not in accelerators_on("gcp"):
            known = ", ".join(accelerators_on("gcp"))
            yield Mistake(
                place, list(zones), "the catalog has no such accelerator", f"Choose one of: {known}"
            )
        for zone in dict.fromkeys(zones):
            if zone not in network.zones:
                yield Mistake(
                    f"{place}[{zones.index(zone)}]",
                    zone,
                    "is none of the network's zones",
                    f"Choose from {', '.join(network.zones)}, or add it to `zones`",
                )


def _nodes_fit(path: str, network: GcpNetwork, parts: Parts) -> Iterable[Mistake]:
    """All pools at their largest, and the system's own nodes."""
    nodes = sum(pool.max_nodes for _, pool in parts.pools) + SYSTEM_NODES_PER_ZONE * len(network.zones)
    for use, holds in HOLDS.items():
        cidr: str = getattr(network, use)
        prefix = int(cidr.partition("/")[2])
        if prefix <= PREFIXES[use][1] and _is_range(cidr) and holds(prefix) < nodes:
            yield Mistake(
                f"{path}.{use}",
                cidr,
                f"holds {holds(prefix)} nodes, and the pools with the system's own nodes may reach {nodes}",
                f"Choose a prefix of /{longest_prefix(use, nodes)} or shorter, or lower max_nodes of pools",
            )


def _pools_have_zones(region: str, network: GcpNetwork, parts: Parts) -> Iterable[Mistake]:
    """Each rung of a pool has a zone of the region that offers its machine type."""
    for index, pool in parts.pools:
        if pool.accelerator not in accelerators_in("gcp", region):
            continue  # this has a mistake of its own
        zones = network.zones_with(pool.accelerator)
        listed = ", ".join(machine("gcp", pool.accelerator).zones.get(region, ()))
        if not zones and not listed:
            yield Mistake(
                f"pools[{index}].accelerator",
                pool.accelerator,
                f"the catalog does not list which zones of {region} have it, and GKE refuses a pool in one without it",
                f"Name those of the network's zones that `{_listing(pool.accelerator, region)}` shows in "
                f"target.networks.{region}.accelerator_zones.{pool.accelerator}",
            )
        elif not zones:
            yield Mistake(
                f"pools[{index}].accelerator",
                pool.accelerator,
                f"of the zones of {region}, Google lists it in {listed} alone, and the network has none of them",
                f"Add one of them to target.networks.{region}.zones; if Google has added another since, name that in "
                f"target.networks.{region}.accelerator_zones.{pool.accelerator}",
            )
        else:
            yield from reservation_has_its_machine(index, pool, region, network.zones, zones)


def _listing(accelerator: str, region: str) -> str:
    """Command that lists the zones of a region that have an accelerator."""
    row = machine("gcp", accelerator)
    kind, name = ("accelerator-types", row.gpu_type) if row.gpu_type else ("machine-types", row.machine_type)
    return f"gcloud compute {kind} list --filter='name={name} AND zone~{region}-'"


def _is_range(cidr: str) -> bool:
    """One that is none, or too large, has a mistake of its own."""
    try:
        return IPv4Network(cidr).prefixlen >= 0
    except ValueError:
        return False


def _slices_are_whole(parts: Parts) -> Iterable[Mistake]:
    for index, pool in parts.pools:
        if pool.accelerator not in accelerators_on("gcp"):
            continue
        carrier = machine("gcp", pool.accelerator)
        if pool.topology is None or pool.topology not in carrier.topologies:
            continue
        hosts = hosts_of(pool.topology, carrier.count)
        if hosts > 1 and pool.max_nodes != hosts:
            yield Mistake(
                f"pools[{index}].max_nodes",
                pool.max_nodes,
                f"a slice of {pool.topology} is {hosts} nodes that come and go together, and a pool is one slice",
                f"Write {hosts}; another slice is another pool",
            )
