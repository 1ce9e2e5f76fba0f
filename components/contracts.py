"""The two seams, and the values that cross them.

The assembly asks a `Region`; a region on a cluster asks a `ClusterHost`. Both say what is asked, never what a target
offers: a member that one target could only answer with a lie does not belong here. Settings are plain and known
before the first resource; what one resource tells another crosses as an `Output` and is never branched on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

import pulumi
from pulumi import Output

from components.front import Backend, Front
from components.settings.items import (
    Capacity,
    EndpointSettings,
    ModelSettings,
    PoolSettings,
    RegionSettings,
    ServiceSettings,
    TrainingSettings,
)

HEALTH_PATH = "/healthz"
"""What every regional endpoint answers with 200 while any service of the region has a healthy replica. A service that
is missing there is answered elsewhere where the global load balancer tries a request again, and with 503 where not."""


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
    """A declared training run. Nothing of it says whether it has finished: a cluster takes hours, and `up` does not
    wait for it there."""

    name: str
    uri: Output[str]
    """Folder of the exported model, also before it is there."""
    digest: Output[str]
    """SHA-256 of all that the export depends on: settings, data, version of the workload."""
    record: Output[Mapping[str, object]]
    """What is known when `up` returns: steps, seed and workers as declared; where `up` waits for the run, its own
    record with tokens_per_second, bits_per_byte, bigram_bits_per_byte, ..."""


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
    """`sha256:` of the artifact's manifest, which holds the SHA-256 of every file. Where `up` does not wait for it, the
    digest that the stack file pins; empty for a version that is not pinned yet and so cannot be served."""
    facts: Output[Mapping[str, object]]
    """bytes_before (weights in fp32) and bytes_after (as published) where `up` waits for publishing; else nothing."""
    disk_gib: int
    """What a pod that publishes, copies or serves it may take of a node's disk for files, in GiB."""


@dataclass(frozen=True)
class Service:
    """Replicas of one model in one region."""

    name: str
    """What a request gives as its `model`."""
    replicas: int
    address: Output[str]
    """How the region's own endpoint reaches them: what that means only the region knows. Whoever uses it waits until
    the replicas stand."""


@dataclass(frozen=True)
class RegionEndpoint:
    """One address in front of a region's services; an Output of a program, never discovered."""

    url: Output[str]
    """Where the region's endpoint is: on this machine, in a private network or in a cluster. Firewalls and policies let
    in the global load balancer, by which the world comes, and hardly anybody else."""
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


@dataclass(frozen=True)
class Rung:
    """One step of a pool's capacity ladder."""

    kind: Capacity
    selector: Mapping[str, str]
    """Labels of this rung's nodes, and of no other's."""
    notice_seconds: int | None
    """What pods have between the notice and the end of their node; None where nobody takes the node."""


@dataclass(frozen=True)
class Toleration:
    """A taint that pods of the pool accept."""

    key: str
    value: str
    effect: str = "NoSchedule"


@dataclass(frozen=True)
class Placement:
    """What a pod needs to land on a pool. Plain: it is known before anything is made."""

    node_selector: Mapping[str, str]
    tolerations: tuple[Toleration, ...]
    resources: Mapping[str, int]
    """Extended resources of a whole node, such as nvidia.com/gpu: 8. A worker or a replica takes a node's."""
    accelerators: int
    """Accelerators of a node, 0 on a CPU: a training worker runs a process on each."""
    architecture: str
    """kubernetes.io/arch of the nodes."""
    memory_mib: int
    """Memory of a node that pods may use, in MiB."""
    disk_gib: int
    """Disk of a node that pods may use for scratch folders and logs, in GiB."""
    max_nodes: int
    """Nodes that what is placed may take. Each rung may grow to it, and quota is made of it."""
    rungs: tuple[Rung, ...]
    """In the order in which they are tried."""
    topology_keys: tuple[str, ...]
    """Node labels to spread or gather pods by, from the largest domain to the smallest."""


class Access(Enum):
    """What a pod may do with a folder."""

    READ = "read"
    WRITE = "write"
    """Read, create and replace."""


@dataclass(frozen=True)
class Grant:
    """Access to one folder of a tier, of this region or of another one of the same target."""

    uri: Output[str]
    access: Access


@dataclass(frozen=True)
class ServiceAccount:
    """Whom a grant is for: an identity is bound to a service account, and nothing is annotated."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Egress:
    """A destination that pods may open connections to."""

    cidr: str
    port: int


@dataclass(frozen=True)
class TierAccess:
    """What a pod of a granted service account waits for, and what it must reach."""

    granted: Output[str]
    """Name of the service account, known when the grants stand."""
    egress: tuple[Egress, ...]
    """Where credentials and the tiers answer."""


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


@runtime_checkable
class ClusterHost(Protocol):
    """What a region on Kubernetes asks of what is below it: one cluster, with pools, tiers and a way in."""

    name: str
    """Name of the region."""
    provider: pulumi.ProviderResource
    """Kubernetes provider of the cluster."""
    tiers: Tiers
    callers: tuple[str, ...]
    """CIDRs from which `attach` lets requests and health checks reach the pods."""
    front: Front
    """What `attach` puts in front of the pods."""
    resolvers: tuple[str, ...]
    """CIDRs at which pods are told names, beside the cluster's own DNS."""

    def pool(self, pool: PoolSettings) -> Placement:
        """Makes a node pool, or adopts one, and says how pods land on it."""
        ...

    def access(self, account: ServiceAccount, grants: Sequence[Grant]) -> TierAccess:
        """Binds an identity to a service account and grants it folders, and nothing else. Asked once per account."""
        ...

    def attach(self, backend: Backend, endpoint: EndpointSettings) -> RegionEndpoint:
        """Makes the regional endpoint and everything between it and the pods. Asked once per region."""
        ...


class Target(Protocol):
    """Where a stack runs. It holds what its regions share, such as a provider."""

    def region(self, region: RegionSettings) -> Region:
        """Makes one region of the stack."""
        ...

    def load_balancer(self, traffic: Mapping[str, RegionTraffic]) -> GlobalEndpoint:
        """Makes the global load balancer over regions, by name and in the order of the stack file."""
        ...
