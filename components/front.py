"""The way into a cluster: what a load balancer in front needs of a gateway, and a gateway of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import Input, Output


@dataclass(frozen=True)
class Backend:
    """Pods that answer for a whole region: its gateway."""

    namespace: Input[str]
    """Their namespace, known when it exists."""
    selector: Mapping[str, str]
    """Labels of the pods."""
    port: int
    """Container port."""
    standing: Output[str]
    """Known when the pods stand: what waits for it has somebody to send requests to."""


@dataclass(frozen=True)
class Front:
    """The load balancer that passes requests to a gateway."""

    hops: int
    """Addresses that it appends to `X-Forwarded-For`; the first of them is the client's."""
    silence_seconds: int | None
    """Time without a byte after which a connection through it is forgotten; None where only the settings say when."""
