"""The rule over the zone of a reservation: it offers the pool's machine type. A reservation is zonal (EC2, "Capacity
Reservations"; Compute Engine, "Reserved zonal resources", read 2026-11-30)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from components.settings.items import Capacity, PoolSettings
from components.settings.mistakes import Mistake


def reservation_has_its_machine(
    index: int, pool: PoolSettings, region: str, zones: Collection[str], offering: Collection[str]
) -> Iterable[Mistake]:
    """The zone that a pool names offers its machine type. A zone outside the network has a mistake of its own.

    Args:
        index: place of the pool in the stack file.
        pool: the pool.
        region: the network's region.
        zones: zones of the network.
        offering: zones that offer the pool's machine type.
    """
    zone = pool.reservation_zone
    if Capacity.RESERVED in pool.ladder and zone in zones and zone not in offering:
        yield Mistake(
            f"pools[{index}].reservation_zone",
            zone,
            f"this zone does not offer {pool.accelerator}; zones that do: {', '.join(offering)}",
            "Name the zone in which the reservation lies, or correct "
            f"target.networks.{region}.accelerator_zones.{pool.accelerator}",
        )
