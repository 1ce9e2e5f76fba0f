"""What a stack file lists: regions, pools, runs, models, services, and how endpoints behave."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field, StringConstraints

from components.settings.base import Frozen, Name, Reference

TRAINED = "training://"
SOURCE_PATTERN = r"^(training://.+|package://[A-Za-z_][A-Za-z0-9_]*/[^/]+\.gguf|file:///.+)$"
SOURCE_RULE = "must be training://RUN, package://PACKAGE/FILE.gguf or file:///FOLDER"


class Layer(Enum):
    """Parts of a stack that change at different rates."""

    PLATFORM = "platform"
    APPS = "apps"


class Scheme(Enum):
    """How the weights of a published version are stored."""

    NONE = "none"
    INT8_WEIGHT_ONLY = "int8-weight-only"


class RegionSettings(Frozen):
    """One region of the stack."""

    name: Name = Field(
        description="Name of the region; it becomes part of the names of what it holds.", examples=["east"]
    )
    dial: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="Share of the traffic already routed to this region that it keeps, 0.0 to 1.0. All of it by "
        "default. Not a weight between regions; at 0 the region still takes over when the others fail.",
        examples=[0.5],
    )
    drained: bool = Field(
        default=False,
        description="Takes no new request, not even when the others fail; running ones finish. In rotation by "
        "default. Not the same as dial 0.",
        examples=[True],
    )


class PoolSettings(Frozen):
    """A node pool, made in every region."""

    name: Name = Field(description="What training runs and services name.", examples=["serve"])
    accelerator: Reference = Field(
        description="Row of the catalog that the target must have; it decides the machine type.", examples=["cpu"]
    )
    max_nodes: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Most nodes in one region; quota is asked for by it. A training worker or a replica takes one.",
        examples=[4],
    )


class TrainingSettings(Frozen):
    """A training run of the bundled workload; settings that are not here keep the workload's defaults."""

    name: Name = Field(description="What a model names as its source: training://NAME.", examples=["coder"])
    region: Reference = Field(description="Region in which it runs.", examples=["east"])
    pool: Reference = Field(description="Node pool on which it runs.", examples=["train"])
    workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="World size of the DDP job: worker processes, one per node. One by default.",
        examples=[2],
    )
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        description="Optimizer steps. A count, not a time, so that a slow machine learns the same.", examples=[300]
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0,
        description="Fixes the initial weights and the order of the data: another seed is another run. 0 by default.",
        examples=[1],
    )


class ModelSettings(Frozen):
    """A model version, published once."""

    name: Name = Field(description="What services name.", examples=["coder"])
    source: Annotated[str, StringConstraints(pattern=SOURCE_PATTERN, max_length=1000)] = Field(
        description="Where it is from: training://RUN of this stack, package://PACKAGE/FILE.gguf of an installed "
        "Python package, or a file:/// folder in Hugging Face's Llama layout.",
        examples=["training://coder"],
    )
    scheme: Annotated[Scheme, Field(strict=False)] = Field(
        default=Scheme.INT8_WEIGHT_ONLY,
        description="Quantization: int8-weight-only stores weights in a quarter of fp32, none leaves them. "
        "int8-weight-only by default: on a CPU it is also the faster one.",
        examples=["none"],
    )

    @property
    def run(self) -> str | None:
        """Name of the training run that it is from, if it is from one."""
        return run_of(self.source)


def run_of(source: str) -> str | None:
    """Name of the training run in a model's source, if it is one."""
    return source.removeprefix(TRAINED) if source.startswith(TRAINED) else None


class ServiceSettings(Frozen):
    """Replicas of a model, in every region."""

    name: Name = Field(description="What a request gives as its `model`.", examples=["coder"])
    model: Reference = Field(description="Model whose version is served.", examples=["coder"])
    pool: Reference = Field(description="Node pool on which the replicas run.", examples=["serve"])
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="Replicas per region. One by default.", examples=[2]
    )


class HealthSettings(Frozen):
    """When a replica or a region counts as healthy."""

    interval_seconds: Annotated[int, Field(ge=1, le=300)] = Field(
        default=1,
        description="Seconds between checks. 1 by default: times unhealthy_after it is how long failures last.",
        examples=[5],
    )
    unhealthy_after: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2,
        description="Failed checks in a row until it gets no more requests. 2 by default, so that one lost packet "
        "is no outage.",
        examples=[3],
    )
    healthy_after: Annotated[int, Field(ge=1, le=10)] = Field(
        default=1,
        description="Passed checks in a row until it gets requests again. 1 by default: a ready replica holds its "
        "model.",
        examples=[2],
    )


class EndpointSettings(Frozen):
    """How the endpoints behave. The defaults of clouds cut long answers (30 s)."""

    request_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=300,
        description="Seconds of the longest answer, from the whole request to the last byte. 300 by default: a long "
        "answer of a small model on a CPU.",
        examples=[600],
    )
    idle_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60,
        description="Seconds of the longest pause within an answer. 60 by default: prompts are read in one go.",
        examples=[120],
    )
    drain_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=10,
        description="Seconds that running answers get to finish when a replica or proxy stops. 10 by default.",
        examples=[30],
    )
    health: HealthSettings = Field(
        default=HealthSettings(),
        description="Health checks of replicas and regions. By default a failure is out of rotation in 2 seconds.",
        examples=[{"interval_seconds": 5}],
    )
