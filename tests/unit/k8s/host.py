"""A cluster host that keeps to the seam and does nothing else, and a region over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Output, ResourceOptions

from components.contracts import (
    Backend,
    Egress,
    Front,
    Grant,
    Placement,
    RegionEndpoint,
    Rung,
    ServiceAccount,
    TierAccess,
    Tiers,
    Toleration,
)
from components.k8s.region import K8sRegion
from components.k8s.settings import ClusterTarget, ImageSettings
from components.settings.items import (
    Capacity,
    EndpointSettings,
    HealthSettings,
    ModelSettings,
    PoolSettings,
    ServiceSettings,
    TrainingSettings,
)
from tests.recorder import Recording, Registered, record
from tests.stand_ins import StandIns

IMAGES = {
    name: f"registry.example.com/{name}@sha256:{'1' * 64}" for name in ("training", "serving", "gateway")
}
PIN = f"sha256:{'2' * 64}"
STORE = Egress("203.0.113.7/32", 443)
PULL_SECRET = "registry-of-ours"
SCRAPERS = ("monitoring", "gmp-system")
TARGET = ClusterTarget(images=ImageSettings(**IMAGES), image_pull_secrets=(PULL_SECRET,), scrapers=SCRAPERS)
MEMORY_MIB, DISK_GIB, NOTICE_SECONDS = 30_000, 60, 25
CALLER, RESOLVER = "192.0.2.0/24", "192.0.2.53/32"
ENDPOINT = EndpointSettings(
    request_timeout_seconds=111,
    idle_timeout_seconds=22,
    drain_seconds=33,
    health=HealthSettings(interval_seconds=4, unhealthy_after=5, healthy_after=6),
)


class PlainHost:
    """Answers what the seam asks, and notes it."""

    def __init__(self, name: str, accelerators: int = 2) -> None:
        self.name = name
        self.provider: pulumi.ProviderResource = k8s.Provider(f"{name}-cluster")
        self.tiers = Tiers(
            *(Output.from_input(f"memory://{name}-{tier}") for tier in ("hot", "warm", "cold"))
        )
        self.callers: tuple[str, ...] = (CALLER,)
        self.front = Front(hops=1, silence_seconds=None)
        self.resolvers: tuple[str, ...] = (RESOLVER,)
        self.granted: dict[str, Sequence[Grant]] = {}
        self.attached: list[Backend] = []
        self._accelerators = accelerators

    def pool(self, pool: PoolSettings) -> Placement:
        return Placement(
            node_selector={"pool": pool.name},
            tolerations=(Toleration("accelerator", "present"),),
            resources={"example.com/chip": self._accelerators} if self._accelerators else {},
            accelerators=self._accelerators,
            architecture="arm64",
            memory_mib=MEMORY_MIB,
            disk_gib=DISK_GIB,
            max_nodes=pool.max_nodes,
            rungs=(
                Rung(Capacity.SPOT, {"rung": "spot"}, NOTICE_SECONDS),
                Rung(Capacity.ON_DEMAND, {"rung": "on-demand"}, None),
            ),
            topology_keys=("topology.kubernetes.io/zone",),
        )

    def access(self, account: ServiceAccount, grants: Sequence[Grant]) -> TierAccess:
        assert account.name not in self.granted, "asked once per account"
        self.granted[account.name] = grants
        return TierAccess(Output.from_input(account.name), (STORE,))

    def attach(self, backend: Backend, endpoint: EndpointSettings) -> RegionEndpoint:
        self.attached.append(backend)
        url = backend.standing.apply(lambda _: f"https://{self.name}.example.com")
        return RegionEndpoint(url, Output.from_input("{}"))


RUN = TrainingSettings(name="coder", region="here", pool="pool", workers=2, steps=10, seed=3)
TRAINED = ModelSettings(name="coder", source="training://coder", digest=PIN)
GIVEN = ModelSettings(name="given", source="s3://bucket/given", digest=PIN)
SERVICE = ServiceSettings(name="coder", model="coder", pool="pool", replicas=2, max_replicas=5)
SECOND = ServiceSettings(name="given", model="given", pool="pool", replicas=1)
IDLE = ServiceSettings(name="idle", model="given", pool="pool", replicas=0)


def region_over(host: PlainHost, nodes: int = 20, target: ClusterTarget = TARGET) -> K8sRegion:
    """A region with one pool."""
    made = K8sRegion(
        host.name,
        {"host": host, "target": target, "endpoint": ENDPOINT, "labels": {"team": "search"}},
        ResourceOptions(providers=[host.provider]),
    )
    made.pool(PoolSettings(name="pool", accelerator="cpu", max_nodes=nodes))
    return made


def whole_region(
    services: Sequence[ServiceSettings] = (SERVICE, SECOND),
    accelerators: int = 2,
    scrapers: Sequence[str] = SCRAPERS,
) -> Recording:
    """A run, two versions and services behind an endpoint; returns the run, the endpoint's url and the host."""

    def program() -> Any:
        host = PlainHost("here", accelerators)
        target = TARGET.model_copy(update={"scrapers": tuple(scrapers)})
        region = region_over(host, target=target)
        run = region.train(RUN)
        versions = {"coder": region.publish(TRAINED, run), "given": region.publish(GIVEN, None)}
        served = [region.serve(service, versions[service.model]) for service in services]
        endpoint = region.expose(served, ENDPOINT)
        return {
            "run": vars(run),
            "url": endpoint.url,
            "versions": {name: vars(one) for name, one in versions.items()},
        }

    return record(program, StandIns())


def recorded(program: Callable[[], Any]) -> Recording:
    return record(program, StandIns())


def named(recording: Recording, kind: str, name: str) -> Registered:
    """The one object of a kind whose name in the cluster begins so."""
    found = [made for made in recording.of(kind) if made.inputs["metadata"].get("name", "").startswith(name)]
    (made,) = found
    return made


def is_check(made: Registered) -> bool:
    """Whether it is the Job that waits for the grants of a service account."""
    return made.inputs["metadata"]["name"].startswith("access-")


def template_of(made: Registered) -> Mapping[str, Any]:
    return made.inputs["spec"]["template"]["spec"]


def main_of(made: Registered) -> Mapping[str, Any]:
    (container,) = template_of(made)["containers"]
    return container


def option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]
