"""The seam between the assembly and a target, and the values that cross it.

A `Region` says what the assembly asks, never what a target offers: a member that one target could only answer
with a lie does not belong here. Settings are plain and known before the first resource; what one resource tells
another crosses as an `Output` and is never branched on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pulumi import Output

from components.settings.items import (
    EndpointSettings,
    ModelSettings,
    PoolSettings,
    RegionSettings,
    ServiceSettings,
    TrainingSettings,
)


class CapacityError(ValueError):
    """More was asked of a node pool than it holds; the text names pool, request, rest and remedy."""


@dataclass(frozen=True)
class Tiers:
    """Where data lies, by how soon it is needed. Each is an fsspec URI of a folder."""

    hot: Output[str]
    """What replicas load: published model versions."""
    warm: Output[str]
    """What runs produce and read: exports, checkpoints, prepared data."""
    cold: Output[str]
    """What is kept and seldom read."""


@dataclass(frozen=True)
class TrainingRun:
    """A declared training run. On a target where `up` waits for it the Outputs are those of the finished run."""

    name: str
    uri: Output[str]
    """Folder of the exported model."""
    digest: Output[str]
    """SHA-256 of all that the export depends on: settings, data, version of the workload."""
    record: Output[Mapping[str, object]]
    """The run's own record: steps, seed, tokens_per_second, bits_per_byte, bigram_bits_per_byte, ..."""


@dataclass(frozen=True)
class ModelVersion:
    """One published, quantized, immutable model. Replicas are ready only when they hold `digest`, so a region gets
    traffic through its health and no controller has to watch the copies."""

    name: str
    version: Output[str]
    """First 12 digits of the digest."""
    scheme: str
    """Quantization scheme."""
    uri: Output[str]
    """Folder of the artifact in the tier it was published to."""
    digest: Output[str]
    """`sha256:` of the artifact's manifest, which holds the SHA-256 of every file."""
    bytes_before: Output[int]
    """Bytes of the weights in fp32."""
    bytes_after: Output[int]
    """Bytes of the weights as published."""


@dataclass(frozen=True)
class Service:
    """Replicas of one model in one region."""

    name: str
    """What a request gives as its `model`."""
    replicas: int
    address: Output[str]
    """How the region's own endpoint reaches them: what that means only the target knows. Whoever uses it waits until
    the replicas stand."""


@dataclass(frozen=True)
class RegionEndpoint:
    """One address in front of a region's services; an Output of the same program, never discovered."""

    url: Output[str]
    health_path: str
    """Answers 200 while any service of the region has a healthy replica; a service that is missing here is answered
    elsewhere."""
    handle: Output[str]
    """The target's own handle of the endpoint as JSON, for its global load balancer; survives a StackReference."""


@dataclass(frozen=True)
class RegionTraffic:
    """What a global load balancer needs of one region."""

    endpoint: RegionEndpoint
    dial: float
    """Share, 0.0 to 1.0, of the traffic already routed to this region that it keeps. Not a weight between regions,
    and 0 is not a drain: the region still takes over when the others fail."""
    drained: bool
    """Takes no new request, not even when the others fail; running ones finish."""


@dataclass(frozen=True)
class GlobalEndpoint:
    """The one address in front of all regions."""

    url: Output[str]


@runtime_checkable
class Region(Protocol):
    """What the assembly asks of one region, in this order: pools, runs, versions, services, endpoint."""

    name: str
    tiers: Tiers

    def pool(self, pool: PoolSettings) -> None:
        """Makes a node pool; runs and services name it in their settings."""
        ...

    def train(self, run: TrainingSettings) -> TrainingRun:
        """Declares a training run on the run's pool; its export goes to the warm tier.

        Raises:
            CapacityError: more workers than the pool has nodes left.
        """
        ...

    def publish(self, model: ModelSettings, run: TrainingRun | None) -> ModelVersion:
        """Quantizes a model once, from a run's export or from the model's own source, to the hot tier."""
        ...

    def serve(self, service: ServiceSettings, version: ModelVersion, after: Service | None = None) -> Service:
        """Runs replicas of a version, which may have been published in another region.

        Args:
            service: what to run.
            version: what to load.
            after: the same service in another region. Nothing here is touched before that one stands, so a version
                that fails there leaves this region as it was.

        Raises:
            CapacityError: more replicas than the pool has nodes left.
        """
        ...

    def expose(self, services: Sequence[Service], endpoint: EndpointSettings) -> RegionEndpoint:
        """Puts one endpoint in front of services, which requests choose by the name of the model."""
        ...


class Target(Protocol):
    """Where a stack runs. It holds what its regions share, such as a provider."""

    def region(self, region: RegionSettings) -> Region:
        """Makes one region of the stack."""
        ...

    def load_balancer(self, traffic: Mapping[str, RegionTraffic]) -> GlobalEndpoint:
        """Makes the global load balancer over regions, by name and in the order of the stack file."""
        ...
