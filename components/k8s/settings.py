"""Settings that every target with clusters has, and the rules that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import Field, StringConstraints

from components.catalog.accelerators import accelerators_on, machine
from components.catalog.notices import SPOT_NOTICE_SECONDS
from components.k8s.disk_rules import models_fit_on_disks
from components.settings.base import UNRESOLVED, Frozen
from components.settings.items import BUCKETS, FOLDER, SECRET_PATTERN, Capacity, Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

IMAGE_PATTERN = rf"^({UNRESOLVED}|[a-z0-9][a-z0-9./:_-]*@sha256:[0-9a-f]{{64}})$"
IMAGE_RULE = f"an image is pinned by its digest, REGISTRY/NAME@sha256:..., or {UNRESOLVED}"
DOMAIN_PATTERN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
DOMAIN_RULE = "a domain is a host name such as inference.example.com"

LONGEST_DRAIN_SECONDS = 3600
"""Longest deregistration delay of a target group (Elastic Load Balancing API, TargetGroupAttribute
`deregistration_delay.timeout_seconds`), and longest connection draining of a backend service (Compute Engine API,
`connectionDraining.drainingTimeoutSec`), both read 2026-12-01."""

NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NAMESPACE_RULE = "a namespace is lower-case letters, digits and '-', at most 63, such as monitoring"

LEAVING_SECONDS = 5
"""Between the end of a replica's traffic and its SIGTERM: endpoints and health checks take some seconds to spread."""

Image = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
Domain = Annotated[str, StringConstraints(pattern=DOMAIN_PATTERN)]


class Zoned(Protocol):
    """A region's network, of any target."""

    @property
    def zones(self) -> tuple[str, ...]:
        """Zones of the nodes."""
        ...


class ImageSettings(Frozen):
    """What the pods run, pinned by digest."""

    training: Image = Field(default=UNRESOLVED, description="The bundled training workload.")
    serving: Image = Field(
        default=UNRESOLVED, description="The bundled serving workload, which also publishes."
    )
    gateway: Image = Field(default=UNRESOLVED, description="Envoy, in front of a region's services.")


IMAGES_OF = {Layer.PLATFORM: ("gateway",), Layer.APPS: ("training", "serving")}
"""Which layer runs which images."""


class ClusterTarget(Frozen):
    """Settings of a target whose regions are clusters."""

    domain: Domain | None = Field(
        default=None, description="Host name of the global load balancer. Required with the layer global."
    )
    images: ImageSettings = Field(
        default=ImageSettings(), description="Images of the workloads and the gateway."
    )
    image_pull_secrets: tuple[Annotated[str, StringConstraints(pattern=SECRET_PATTERN)], ...] = Field(
        default=(),
        description="Names of Secrets of type kubernetes.io/dockerconfigjson, with which pods pull images. You make "
        "them in namespace skerry of each cluster, and on target aws also in kube-system, where the autoscaler runs. "
        "Left out, nodes pull with their own credentials.",
    )
    scrapers: tuple[Annotated[str, StringConstraints(pattern=NAMESPACE_PATTERN)], ...] = Field(
        default=(),
        description="Namespaces of the clusters whose pods may scrape metrics, such as that of Prometheus. They "
        "reach a port that answers scrapes alone. Left out, none may.",
    )


def cluster_rules(
    parts: Parts, target: ClusterTarget, name: str, networks: Mapping[str, Zoned], bucket: str
) -> Iterable[Mistake]:
    """Rules of every target with clusters.

    Args:
        parts: what of the stack file can be read.
        target: the target's own settings.
        name: the target's name.
        networks: the target's network settings by region.
        bucket: scheme of the target's object store, one of `BUCKETS`.
    """
    layers = parts.layers() or frozenset[str]()
    if Layer.GLOBAL.value in layers and target.domain is None:
        yield Mistake(
            "target.domain",
            None,
            "the global load balancer needs a host name",
            "Add the name that you point at it",
        )
    if Layer.PLATFORM.value in layers:
        yield from _networks_fit_regions(parts, networks)
        yield from _reservations_lie_in_a_network(parts, networks)
    yield from _answers_can_end(parts)
    yield from _drains_end_before_a_spot_node(parts, name)
    yield from _models_can_be_had(parts, bucket)
    yield from models_fit_on_disks(parts, name)
    yield from _replicas_can_be_replaced(parts)
    yield from _autoscalers_can_see_the_load(parts, name)


def unresolved(target: ClusterTarget, layers: Sequence[Layer]) -> Iterator[str]:
    """Key paths of what nobody has looked up, as far as the layers use it."""
    for layer, names in IMAGES_OF.items():
        for name in names:
            if layer in layers and getattr(target.images, name) == UNRESOLVED:
                yield f"target.images.{name}"


def _networks_fit_regions(parts: Parts, networks: Mapping[str, Zoned]) -> Iterable[Mistake]:
    regions = parts.names("regions")
    for name in regions:
        if name not in networks:
            yield Mistake(
                f"target.networks.{name}", None, f"region {name!r} has no network", "Add its ranges and zones"
            )
    for name in networks:
        if name not in regions:
            yield Mistake(
                f"target.networks.{name}",
                name,
                f"no entry of regions is called so; there are: {', '.join(regions)}",
                "Remove the network or add the region",
            )


def _reservations_lie_in_a_network(parts: Parts, networks: Mapping[str, Zoned]) -> Iterable[Mistake]:
    """The rung `reserved` stands in the region of its zone, and every region has a rung."""
    zones = [zone for network in networks.values() for zone in network.zones]
    for index, pool in parts.pools:
        if pool.reservation_zone is None or Capacity.RESERVED not in pool.ladder:
            continue
        if zones and pool.reservation_zone not in zones:
            yield Mistake(
                f"pools[{index}].reservation_zone",
                pool.reservation_zone,
                "no network of this stack has a subnet there, so no node could draw on the reservation",
                f"Choose one of: {', '.join(zones)}; or add it to the zones of a network",
            )
            continue
        bare = [region for region, network in networks.items() if not pool.rungs_in(network.zones)]
        if bare:
            yield Mistake(
                f"pools[{index}].ladder",
                [rung.value for rung in pool.ladder],
                f"the reservation lies in {pool.reservation_zone}, so in {', '.join(bare)} the pool has no rung",
                "Add a rung `spot` or `on-demand`, or give that region a stack of its own",
            )


def _replicas_can_be_replaced(parts: Parts) -> Iterable[Mistake]:
    """A new replica is ready before an old one stops, and each takes a node of its own."""
    for index, pool in parts.pools:
        replicas = sum(service.most for _, service in parts.services if service.pool == pool.name)
        if replicas == pool.max_nodes:
            yield Mistake(
                f"pools[{index}].max_nodes",
                pool.max_nodes,
                f"its services may have {replicas} replicas, and a new one needs a node before an old one leaves",
                f"Raise it to {replicas + 1}, or ask for fewer replicas",
            )


def _autoscalers_can_see_the_load(parts: Parts, target: str) -> Iterable[Mistake]:
    """The autoscaler compares CPU utilization, which says nothing about the load of a GPU or a TPU: one Python thread
    drives the accelerator and keeps about one core busy with one request as well as with many."""
    pools = {pool.name: pool.accelerator for _, pool in parts.pools}
    for index, service in parts.services:
        found = pools.get(service.pool)
        carries = found in accelerators_on(target) and machine(target, found).count
        if service.max_replicas is not None and carries:
            yield Mistake(
                f"services[{index}].max_replicas",
                service.max_replicas,
                f"the autoscaler measures CPU utilization, and on a pool of {found} the CPU does not show how many "
                "requests wait",
                f"Leave max_replicas out and set replicas to what the peak needs, such as {service.max_replicas}; or "
                "choose a pool of accelerator cpu",
            )


def _answers_can_end(parts: Parts) -> Iterable[Mistake]:
    """A drain that is left out lasts as long as the longest answer, and load balancers have an upper limit for it."""
    endpoint = parts.endpoint()
    if endpoint is not None and endpoint.drain > LONGEST_DRAIN_SECONDS:
        yield Mistake(
            "endpoint.request_timeout_seconds",
            endpoint.request_timeout_seconds,
            f"a drain that is left out lasts as long as the longest answer, and a load balancer drains for at most "
            f"{LONGEST_DRAIN_SECONDS} seconds",
            f"Choose at most {LONGEST_DRAIN_SECONDS}, or set endpoint.drain_seconds: answers that are still running "
            "after it are cut when a gateway is replaced",
        )


def _drains_end_before_a_spot_node(parts: Parts, target: str) -> Iterable[Mistake]:
    """A drain that is asked for must fit into the notice of every spot node that serves: what does not fit is cut."""
    endpoint = parts.endpoint()
    drain = endpoint.drain_seconds if endpoint else None
    longest = SPOT_NOTICE_SECONDS[target] - LEAVING_SECONDS
    serving = {service.pool for _, service in parts.services if service.most}
    spot = [pool.name for _, pool in parts.pools if Capacity.SPOT in pool.ladder and pool.name in serving]
    if drain is not None and drain > longest and spot:
        yield Mistake(
            "endpoint.drain_seconds",
            drain,
            f"services run on spot nodes of pool {', '.join(spot)}, which end {SPOT_NOTICE_SECONDS[target]} seconds "
            f"after their notice, and a replica takes {LEAVING_SECONDS} of them to leave the gateway",
            f"Choose at most {longest}, take the rung `spot` from the pool's ladder, or leave drain_seconds out: "
            "then the drain is as long as the longest answer, and only on spot nodes it is cut short",
        )


def _models_can_be_had(parts: Parts, bucket: str) -> Iterable[Mistake]:
    pinned = {model.name: model.digest is not None for _, model in parts.models}
    for index, model in parts.models:
        foreign = [other for other in BUCKETS if other != bucket]
        if model.source.startswith((FOLDER, *foreign)):
            yield Mistake(
                f"models[{index}].source",
                model.source,
                f"pods of this target read {bucket} only",
                f"Copy it to a bucket and name it by {bucket}BUCKET/FOLDER",
            )
    for index, service in parts.services:
        if pinned.get(service.model) is False:
            yield Mistake(
                f"services[{index}].model",
                service.model,
                "its version has no digest, and on a cluster `up` does not wait for publishing: replicas would not "
                "know what they may load",
                "Publish it first (leave the service out), then write the digest of the publishing job's log to "
                "models[].digest",
            )
