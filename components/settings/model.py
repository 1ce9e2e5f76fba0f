"""The settings of a stack as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

from components.settings.base import Frozen, Name
from components.settings.items import (
    EndpointSettings,
    Layer,
    ModelSettings,
    PoolSettings,
    RegionSettings,
    ServiceSettings,
    TrainingSettings,
)
from components.settings.targets import TargetSettings, told_apart

LABEL_KEY = r"^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$"
LABEL_VALUE = r"^([a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)?$"


class StackSettings(Frozen):
    """Everything that stands under `skerry:stack`."""

    environment: Name = Field(description="Environment that the stack belongs to, such as dev or prod.")
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = Field(
        default=(Layer.PLATFORM, Layer.APPS, Layer.GLOBAL),
        description="Parts that this stack holds: platform (regions, tiers, pools), apps (training, models, services), "
        "global (the load balancer over regions). A stack with `global` alone reads its regions from other stacks.",
    )
    labels: Mapping[
        Annotated[str, StringConstraints(pattern=LABEL_KEY)],
        Annotated[str, StringConstraints(pattern=LABEL_VALUE)],
    ] = Field(
        default={},
        max_length=40,
        json_schema_extra={"additionalProperties": False},  # a key of another form is refused in editors too
        description="Labels (tags) on everything that can carry them, by a rule that Google, AWS and Kubernetes share."
        " The targets add labels of their own, so there are fewer than a cloud takes.",
    )
    target: TargetSettings = Field(
        discriminator=told_apart(TargetSettings), description="Where the stack runs."
    )
    regions: Annotated[tuple[RegionSettings, ...], Field(min_length=1, max_length=20)] = Field(
        description="Regions, in an order that does not matter to traffic."
    )
    pools: tuple[PoolSettings, ...] = Field(default=(), description="Node pools, made in every region.")
    training: tuple[TrainingSettings, ...] = Field(default=(), description="Training runs.")
    models: tuple[ModelSettings, ...] = Field(default=(), description="Models to publish.")
    services: tuple[ServiceSettings, ...] = Field(default=(), description="Services, in every region.")
    endpoint: EndpointSettings = Field(
        default=EndpointSettings(), description="Endpoints, regional and global."
    )

    def holds(self, layer: Layer) -> bool:
        """Whether this stack has the layer."""
        return layer in self.layers
