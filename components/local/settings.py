"""Settings of target `local`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from components.local.layout import PORTS_PER_REGION, PORTS_PER_SERVICE
from components.settings.base import Frozen
from components.settings.items import BUCKETS, Capacity, Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

LAST_PORT = 65535
MOST_SERVICES = PORTS_PER_REGION // PORTS_PER_SERVICE - 1
MOST_REPLICAS = PORTS_PER_SERVICE - 1
"""One port is left for the successor of a replica."""


class LocalTarget(Frozen):
    """This machine, without root, Docker or an account."""

    name: Annotated[
        Literal["local"],
        Field(description="Regions are processes and folders of this machine."),
    ]
    port: Annotated[int, Field(ge=1024, le=LAST_PORT)] = Field(
        default=8080,
        description="Port of the global load balancer on 127.0.0.1. Region I (from 0) listens on port + 100 x (I + 1), "
        "its replicas above that.",
    )
    threads_per_node: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1,
        description="Threads that a training worker or a replica uses: a node of this target is a slot.",
    )
    ready_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=180,
        description="Seconds that a replica or a proxy may take until it is ready. A machine that is busy with other "
        "work needs more.",
    )


def local_rules(parts: Parts, target: LocalTarget) -> Iterable[Mistake]:
    """Ports follow from one number, so what they can hold is limited."""
    regions = len(parts.names("regions"))
    highest = target.port + PORTS_PER_REGION * (regions + 1) - 1
    if highest > LAST_PORT:
        yield Mistake(
            "target.port",
            target.port,
            f"{regions} regions need ports up to {highest}, and the last port is {LAST_PORT}",
            f"Choose a port of at most {target.port - (highest - LAST_PORT)}",
        )
    layers = parts.layers()
    if layers == frozenset({Layer.GLOBAL.value}):
        yield Mistake(
            "layers",
            [Layer.GLOBAL.value],
            "target local has no other stacks to read regions from: its ports and folders are one set",
            "Add platform, or leave `layers` out",
        )
    if len(parts.names("services")) > MOST_SERVICES:
        yield Mistake(
            "services",
            len(parts.names("services")),
            f"on target local a region has ports for {MOST_SERVICES} services",
            "Declare fewer services",
        )
    for index, service in parts.services:
        if service.max_replicas is not None:
            yield Mistake(
                f"services[{index}].max_replicas",
                service.max_replicas,
                "target local has no autoscaler",
                "Leave it out and set replicas",
            )
        if service.api_keys is not None:
            yield Mistake(
                f"services[{index}].api_keys",
                service.api_keys,
                "target local has no Secrets: its replicas listen on this machine alone",
                "Leave it out; a server that you start yourself takes --api-keys-file",
            )
        if service.replicas > MOST_REPLICAS:
            yield Mistake(
                f"services[{index}].replicas",
                service.replicas,
                f"on target local a service has ports for {MOST_REPLICAS} replicas per region",
                f"Ask for at most {MOST_REPLICAS}",
            )
    for index, pool in parts.pools:
        if pool.ladder != (Capacity.ON_DEMAND,):
            yield Mistake(
                f"pools[{index}].ladder",
                [rung.value for rung in pool.ladder],
                "target local has no reserved or spot capacity: its slots are always there",
                "Leave it out",
            )
    for index, model in parts.models:
        if model.source.startswith(BUCKETS):
            yield Mistake(
                f"models[{index}].source",
                model.source,
                "target local holds no credentials for buckets",
                "Copy the folder here and name it by file:///ABSOLUTE/FOLDER",
            )
        if model.pool is not None:
            yield Mistake(
                f"models[{index}].pool",
                model.pool,
                "on target local publishing takes no slot of a pool",
                "Leave it out",
            )
        if model.digest is not None:
            yield Mistake(
                f"models[{index}].digest",
                model.digest,
                "on target local `up` publishes the version itself and serves what it made",
                "Leave it out",
            )
