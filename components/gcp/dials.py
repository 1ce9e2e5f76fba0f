"""Dial and drain as capacity scalers of backends. Pure.

A backend's capacity scaler is 0 or 0.1 to 1.0 and multiplies what the backend is said to hold (`Backend.capacityScaler`
in the discovery document of compute v1). A dial is therefore honest from 0.1 on: the region keeps that part of its
capacity, and what is above it goes to the next nearest region. A dial below that cannot be told from a drain, and is
refused. Scaled to 0 a backend gets no new request even when the others fail, and running ones finish: a drain.
"""

from __future__ import annotations

SMALLEST_DIAL = 0.1


def capacity_scaler(dial: float, drained: bool) -> float:
    """0.0 for a drained region, otherwise its dial.

    Args:
        dial: share of its capacity that the region keeps, 0.1 to 1.0; without meaning where it is drained.
        drained: whether it takes no new request.

    Raises:
        ValueError: a dial that no scaler stands for.
    """
    if drained:
        return 0.0
    if not SMALLEST_DIAL <= dial <= 1:
        raise ValueError(
            f"dial: {dial} -- a capacity scaler is 0, which drains, or {SMALLEST_DIAL} to 1.0. "
            f"Choose at least {SMALLEST_DIAL}, or drain the region."
        )
    return dial
