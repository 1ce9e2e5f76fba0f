"""Dial and drain as shares of requests. Pure.

Every region of one machine is equally near, so each is routed an equal part. A region keeps `dial` of its part;
the rest goes to the other regions in proportion to their dials, as Global Accelerator passes it on. A drained
region is routed nothing and takes nothing over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SMALLEST_DIAL = 0.001
"""Envoy's weights are whole thousandths here; less than one is none."""


@dataclass(frozen=True)
class Dialled:
    """Args: dial: 0.0 to 1.0; drained: out of rotation."""

    dial: float
    drained: bool


def shares(regions: Mapping[str, Dialled]) -> dict[str, float]:
    """Region -> share of all requests; they add up to 1. A region with share 0 only takes over; a drained one is
    not in the result.

    Raises:
        ValueError: no region is left.
    """
    open_regions = {
        name: region.dial if region.dial >= SMALLEST_DIAL else 0.0
        for name, region in regions.items()
        if not region.drained
    }
    if not open_regions:
        raise ValueError("drained: every region is drained. Leave one in rotation.")
    part = 1 / len(open_regions)
    if not any(open_regions.values()):
        return dict.fromkeys(open_regions, part)  # all dials at 0 would be an outage: the dials are ignored
    result = {name: part * dial for name, dial in open_regions.items()}
    for name, dial in open_regions.items():
        spilled = part * (1 - dial)
        others = {other: value for other, value in open_regions.items() if other != name and value > 0}
        takers = others or {name: 1.0}
        total = sum(takers.values())
        for other, value in takers.items():
            result[other] += spilled * (value / total)
    return result
