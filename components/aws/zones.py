"""Rules over the zones that offer a pool's machine type. EKS refuses a node group with a subnet in any other zone
("Your requested instance type is not supported in your requested Availability Zone", eksctl, issue 6461, read
2026-11-30)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from components.catalog.accelerators import accelerators_in, accelerators_on, machine
from components.catalog.aws import SYSTEM, offering
from components.k8s.reserved import reservation_has_its_machine
from components.settings.items import Capacity
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

LETTERS = "abcdef"
"""Of the zones that regions have (EC2's offerings as bundled in moto 5.2.5, read 2026-12-01)."""
ASK = "aws ec2 describe-instance-type-offerings --location-type availability-zone"


class Network(Protocol):
    """A region's network."""

    @property
    def zones(self) -> tuple[str, ...]:
        """Zones of the subnets."""
        ...

    @property
    def accelerator_zones(self) -> Mapping[str, tuple[str, ...]]:
        """What the stack file says of accelerators."""
        ...

    def zones_with(self, name: str) -> tuple[str, ...]:
        """Those of the zones that offer a machine."""
        ...


def machines_are_in_the_zones(parts: Parts, networks: Mapping[str, Network]) -> Iterable[Mistake]:
    """Every pool has a zone in every region, and a stack file names zones of the network only."""
    for region, network in networks.items():
        path = f"target.networks.{region}"
        yield from _are_named_well(f"{path}.accelerator_zones", network)
        if network.zones and not network.zones_with(SYSTEM):
            yield Mistake(
                f"{path}.zones",
                list(network.zones),
                "none of these zones offers the machine type of the system nodes",
                f"Add one of: {_choice(SYSTEM, region)}; or name yours in accelerator_zones.{SYSTEM} ({ASK})",
            )
    for index, pool in parts.pools:
        for region, network in networks.items():
            offered = pool.accelerator in accelerators_on("aws") and pool.accelerator in accelerators_in(
                "aws", region
            )
            bought = set(pool.rungs_in(network.zones)) - {Capacity.RESERVED}
            kind = machine("aws", pool.accelerator).machine_type if offered else ""
            if offered and bought and not network.zones_with(pool.accelerator):
                yield Mistake(
                    f"pools[{index}].accelerator",
                    pool.accelerator,
                    f"none of the zones {', '.join(network.zones)} offers {kind}; "
                    f"zones of {region} that do: {_choice(pool.accelerator, region)}",
                    f"Add one of them to target.networks.{region}.zones. If your account's zones differ ({ASK}), name "
                    f"them in target.networks.{region}.accelerator_zones.{pool.accelerator}",
                )
                break
            if offered:
                known = network.zones_with(pool.accelerator) or offering(pool.accelerator, _zones(region))
                yield from reservation_has_its_machine(index, pool, region, network.zones, known)


def _are_named_well(path: str, network: Network) -> Iterable[Mistake]:
    for name, zones in network.accelerator_zones.items():
        known = (*accelerators_on("aws"), SYSTEM)
        if name not in known:
            yield Mistake(
                f"{path}.{name}",
                list(zones),
                "the catalog has no such accelerator",
                f"Choose one of: {', '.join(known)}",
            )
        for index, zone in enumerate(zones):
            if zone not in network.zones:
                yield Mistake(
                    f"{path}.{name}[{index}]",
                    zone,
                    "is none of the network's zones",
                    f"Choose from {', '.join(network.zones)}, or add it to `zones`",
                )


def _choice(name: str, region: str) -> str:
    return ", ".join(offering(name, _zones(region)))


def _zones(region: str) -> list[str]:
    return [f"{region}{letter}" for letter in LETTERS]
