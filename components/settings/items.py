"""What a stack file lists: regions, pools, runs, models, services, and how endpoints behave."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Annotated

from pydantic import Field, StringConstraints

from components.settings.base import NAME_PATTERN, UNRESOLVED, Frozen, Name

TRAINED, PACKAGED, FOLDER = "training://", "package://", "file://"
BUCKETS = ("s3://", "gs://")
SOURCE_PATTERN = (
    rf"^({TRAINED}{NAME_PATTERN[1:-1]}"
    rf"|{PACKAGED}[A-Za-z_][A-Za-z0-9_]*/[^/]+\.gguf"
    rf"|{FOLDER}/[^/?#][^?#]*"
    rf"|({'|'.join(BUCKETS)})[a-z0-9][a-z0-9._-]+/[^?#]+)$"
)
SOURCE_RULE = (
    "a source is training://RUN of this stack, package://PACKAGE/FILE.gguf of an installed Python package, "
    "file:///ABSOLUTE/FOLDER, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
)
DIGEST_PATTERN = f"^({UNRESOLVED}|sha256:[0-9a-f]{{64}})$"
DIGEST_RULE = f"a digest is sha256: and 64 hexadecimal digits, as `publish` prints it, or {UNRESOLVED}"
STACK_PATTERN = r"^[a-z][a-z0-9-]{0,98}[a-z0-9]$"
STACK_RULE = "a stack is called ENVIRONMENT-TARGET-REGION: lower-case letters, digits and '-'"

RESERVATION_PATTERN = r"^[A-Za-z][A-Za-z0-9-]{0,62}$"
RESERVATION_RULE = "a reservation is letters, digits and '-', as the cloud lists it"
RESERVATION_ZONE_PATTERN = r"^[a-z]+(-[a-z0-9]+)+$"
RESERVATION_ZONE_RULE = "a zone is written as the cloud calls it, such as us-east-1a or us-central1-a"
TOPOLOGY_PATTERN = r"^[0-9]+x[0-9]+(x[0-9]+)?$"
TOPOLOGY_RULE = "a topology is two or three numbers, such as 2x4 or 2x2x1"

SECRET_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
SECRET_RULE = "a Secret's name is lower-case letters, digits and '-', at most 63; never a key itself"

TRAINING_BATCH = 8
"""Sequences per step of the bundled workload, over all workers. It is a setting of the workload, not of a stack; it
stands here because workers that do not divide it are refused, and that must not wait until the run starts."""


SILENCE_MARGIN_SECONDS = 10
"""By which an endpoint gives up before what stands in front of it does, so that the caller is told why."""


class Layer(Enum):
    """Parts of a stack that change at different rates."""

    PLATFORM = "platform"
    APPS = "apps"
    GLOBAL = "global"


class Capacity(Enum):
    """How the nodes of one rung of a ladder are bought."""

    RESERVED = "reserved"
    SPOT = "spot"
    ON_DEMAND = "on-demand"


class Scheme(Enum):
    """How the weights of a published version are stored."""

    NONE = "none"
    BF16 = "bf16"
    INT8_WEIGHT_ONLY = "int8-weight-only"
    INT8_DYNAMIC = "int8-dynamic"
    INT4_WEIGHT_ONLY = "int4-weight-only"
    FP8 = "fp8"


class RegionSettings(Frozen):
    """One region of the stack."""

    name: Name = Field(
        description="Name of the region; it becomes part of the names of what it holds. On a cloud it is the cloud's "
        "own name of it."
    )
    stack: Annotated[str, StringConstraints(pattern=STACK_PATTERN)] | None = Field(
        default=None,
        description="Stack that holds the region, where this one has only the global layer. Left out, the region is "
        "made here.",
    )
    dial: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="Share of the traffic already routed to this region that it keeps, 0.0 to 1.0. Not a weight "
        "between regions; at 0 the region still takes over when the others fail.",
    )
    drained: bool = Field(
        default=False,
        description="Takes no new request, not even when the others fail; running ones finish.",
    )


class PoolSettings(Frozen):
    """A node pool, made in every region."""

    name: Name = Field(description="What training runs and services name.")
    accelerator: Name = Field(description="Row of the catalog that the target must have.")
    max_nodes: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Nodes that training workers and replicas may take in one region, where each counts as one. Every "
        "rung of the ladder may grow to it."
    )
    ladder: Annotated[tuple[Capacity, ...], Field(min_length=1, max_length=3)] = Field(
        default=(Capacity.ON_DEMAND,),
        description="Kinds of capacity in the order in which they are tried; each is a rung. Every rung scales to "
        "zero.",
    )
    reservation: Annotated[str, StringConstraints(pattern=RESERVATION_PATTERN)] | None = Field(
        default=None,
        description="The cloud's name of the reservation that the rung `reserved` draws on.",
    )
    reservation_zone: Annotated[str, StringConstraints(pattern=RESERVATION_ZONE_PATTERN)] | None = Field(
        default=None,
        description="Zone in which the reservation lies. Required with `reservation`: the rung `reserved` asks for "
        "nodes in this zone only, and stands only in the region of this zone.",
    )
    topology: Annotated[str, StringConstraints(pattern=TOPOLOGY_PATTERN)] | None = Field(
        default=None, description="Chips of a TPU slice, such as 2x4. Only for a TPU, and required there."
    )

    def rungs_in(self, zones: Collection[str]) -> tuple[Capacity, ...]:
        """The rungs of the ladder that a region with these zones has: a reservation lies in one zone of one region."""
        return tuple(
            rung for rung in self.ladder if rung is not Capacity.RESERVED or self.reservation_zone in zones
        )


class TrainingSettings(Frozen):
    """A training run of the bundled workload."""

    name: Name = Field(description="What a model names as its source: training://NAME.")
    region: Name = Field(description="Region in which it runs.")
    pool: Name = Field(description="Node pool on which it runs.")
    workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="World size of the DDP job: worker processes, one per node. Divides the workload's global batch "
        f"of {TRAINING_BATCH} sequences.",
    )
    steps: Annotated[int, Field(ge=1)] = Field(description="Optimizer steps.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Fixes the initial weights and the order of the data."
    )
    attempt: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Raise it to start the run again, for example after it has failed. A run with checkpoints "
        "continues from the last one.",
    )


class ModelSettings(Frozen):
    """A model version, published once."""

    name: Name = Field(description="What services name.")
    source: Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)] = Field(
        description="Where it is from: training://RUN of this stack, package://PACKAGE/FILE.gguf of an installed "
        "Python package, or a folder in Hugging Face's Llama layout: file:///ABSOLUTE/FOLDER, s3://BUCKET/FOLDER or "
        "gs://BUCKET/FOLDER.",
    )
    scheme: Scheme = Field(
        default=Scheme.INT8_WEIGHT_ONLY,
        description="How weights are stored: none leaves them in fp32, bf16 takes half of that, int8-weight-only a "
        "quarter, int8-dynamic the same with inputs rounded too (on CPUs the quickest for many requests at once), "
        "int4-weight-only about a sixth, fp8 about a quarter, for GPUs of compute capability 8.9 or newer.",
    )
    pool: Name | None = Field(
        default=None,
        description="Node pool on which it is published. Required for fp8, whose loss is measured on such a GPU. Left "
        "out, the first pool of accelerator cpu on which no run trains; it counts none of max_nodes there, because a "
        "replica that needs the node takes it. Where the stack has no such pool, it is published on a system node. "
        "Copies in other regions are made in the same place.",
    )
    disk_gib: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=10,
        description="GiB of a node's disk for what a pod writes when it publishes, copies or serves the model: copies "
        "of source and artifact, and compiled layers. A pod that writes more is evicted. On a cluster only.",
    )
    digest: Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)] | None = Field(
        default=None,
        description="Digest of the published version, as `publish` prints it. Replicas load nothing else. Required "
        "for what is served on a cluster, where `up` does not wait for publishing.",
    )

    @property
    def run(self) -> str | None:
        """Name of the training run that it is from, if it is from one."""
        return self.source.removeprefix(TRAINED) if self.source.startswith(TRAINED) else None


class LimitSettings(Frozen):
    """What one replica takes on; what is beyond is refused at once with 429."""

    slots: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=8, description="Requests answered at the same time, in one batch."
    )
    queue: Annotated[int, Field(ge=1, le=10000)] = Field(
        default=8, description="Requests that may wait beside them."
    )
    cache_mib: Annotated[int, Field(ge=1)] = Field(
        default=256,
        description="MiB for keys and values of all answers together, of the GPU's memory where there is one.",
    )
    requests_per_minute: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Requests of one API key, or of all callers together where there are no keys. Left out, any.",
    )


class ServiceSettings(Frozen):
    """Replicas of a model, in every region."""

    name: Name = Field(description="What a request gives as its `model`.")
    model: Name = Field(description="Model whose version is served.")
    pool: Name = Field(description="Node pool on which the replicas run.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="Replicas per region.")
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Most replicas per region, between which and `replicas` an autoscaler chooses. Left out, there "
        "are always `replicas`. Only on a pool of accelerator cpu, because the autoscaler measures CPU utilization.",
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="What one replica takes on.")
    api_keys: Annotated[str, StringConstraints(pattern=SECRET_PATTERN)] | None = Field(
        default=None,
        description="Name of a Secret that you make in namespace skerry of each cluster; its entry `keys` holds a line "
        "`NAME KEY` for each caller. Left out, whoever reaches the endpoint may ask.",
    )

    @property
    def most(self) -> int:
        """Replicas that the pool must have room for."""
        return max(self.replicas, self.max_replicas or 0)


class HealthSettings(Frozen):
    """When a replica or a region counts as healthy."""

    interval_seconds: Annotated[int, Field(ge=1, le=300)] = Field(
        default=1, description="Seconds between checks."
    )
    unhealthy_after: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2, description="Failed checks in a row until it gets no more requests."
    )
    healthy_after: Annotated[int, Field(ge=1, le=10)] = Field(
        default=1, description="Passed checks in a row until it gets requests again."
    )


class EndpointSettings(Frozen):
    """How the endpoints behave. The defaults of clouds cut long answers (30 s)."""

    request_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=300,
        description="Longest answer, from the whole request to the last byte. On AWS an answer that is not streamed "
        "ends after 330 seconds at most, whatever is set here: Global Accelerator forgets a connection without a byte "
        "after 340 seconds.",
    )
    idle_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60, description="Longest pause within an answer."
    )
    drain_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        default=None,
        description="How long running answers may take to finish when a replica or a gateway stops. Left out, as long "
        "as the longest answer.",
    )
    health: HealthSettings = Field(
        default=HealthSettings(), description="Health checks of replicas and regions."
    )

    def whole_answer_seconds(self, silence_seconds: int | None = None) -> int:
        """Longest answer that is not streamed, in seconds: it has no byte before its end.

        Args:
            silence_seconds: after which what stands in front forgets a connection without a byte; None for never.
        """
        longest = self.request_timeout_seconds
        return longest if silence_seconds is None else min(longest, silence_seconds - SILENCE_MARGIN_SECONDS)

    @property
    def drain(self) -> int:
        """Seconds that running answers have to finish when a replica or a gateway stops: `drain_seconds`, or the
        longest answer where it is left out."""
        return self.request_timeout_seconds if self.drain_seconds is None else self.drain_seconds
