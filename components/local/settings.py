"""Settings of target `local`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, cast

from pydantic import Field

from components.local.layout import PORTS_PER_REGION, region_port, service_port
from components.settings.base import Frozen
from components.settings.draft import Draft
from components.settings.mistakes import Mistake

LAST_PORT = 65535
# What the layout has ports for: a region has a hundred, a service ten of them. One of each stays free.
MOST_REGIONS = 20
MOST_SERVICES = 8
MOST_REPLICAS = 9


def local_rules(draft: Draft) -> Iterable[Mistake]:
    """What holds on this target only: all ports follow from one number, so what they can hold is limited."""
    regions, services = draft.sections["regions"], draft.sections["services"]
    limits = (("regions", regions, MOST_REGIONS), ("services", services, MOST_SERVICES))
    for key, section, most in limits:
        if section.length is not None and section.length > most:
            rule = f"target local has ports for {most} {key}"
            yield Mistake(key, [None] * section.length, rule, f"Declare at most {most}")
    for service in services:
        replicas = service.whole("replicas")
        if replicas is not None and replicas > MOST_REPLICAS:
            rule = f"target local has ports for {MOST_REPLICAS} replicas of a service in a region"
            yield Mistake(f"{service.path}.replicas", replicas, rule, f"Ask for at most {MOST_REPLICAS}")
    port = draft.target.whole("port")
    if port is not None and regions.length is not None and services.length is not None:
        last = min(regions.length, MOST_REGIONS) - 1
        highest = max(region_port(port, last) + 1, service_port(port, last, MOST_SERVICES - 1) + MOST_REPLICAS)
        if highest > LAST_PORT:
            rule = f"{last + 1} regions take ports up to {highest}, and the last port is {LAST_PORT}"
            yield Mistake("target.port", port, rule, f"Choose at most {port - (highest - LAST_PORT)}")
    layers = draft.top.values.get("layers")
    if isinstance(layers, list) and "platform" not in layers:
        rule = "target local has no other stack to build on, so it always holds the layer platform"
        yield Mistake("layers", cast(list[object], layers), rule, "Add platform, or leave `layers` out")


class LocalTarget(Frozen):
    """This machine, without root, Docker or an account."""

    name: Literal["local"] = Field(
        description="Regions are processes and folders of this machine.", examples=["local"]
    )
    port: Annotated[int, Field(ge=1024, le=LAST_PORT)] = Field(
        default=8080,
        description="Port of the global load balancer on 127.0.0.1, 8080 by default and without root not below 1024. "
        f"Region I (from 0) listens on port + {PORTS_PER_REGION} x (I + 1), its replicas above that.",
        examples=[8080],
    )
    threads_per_node: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1,
        description="Threads that a training worker or a replica uses: a node of this target is a slot. One by "
        "default, so that slots do not take cores from one another.",
        examples=[2],
    )

    rules = staticmethod(local_rules)
