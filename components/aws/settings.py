"""Settings of target `aws`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from components.aws.reach import TARGET_PATTERN, TARGET_RULE, ExtraRoute, reach_is_sound
from components.aws.subnets import LONGEST_PREFIX, SHORTEST_PREFIX
from components.aws.versions import (
    ADDON_PATTERN,
    ADDON_RULE,
    RELEASE_PATTERN,
    RELEASE_RULE,
    VERSION_PATTERN,
    VERSION_RULE,
    ClusterVersions,
    pinned,
    versions_are_sound,
)
from components.aws.zones import machines_are_in_the_zones
from components.catalog.aws import offering
from components.k8s.settings import UNRESOLVED, ClusterTarget, Image, cluster_rules, unresolved
from components.settings.base import Frozen, Name
from components.settings.items import SILENCE_MARGIN_SECONDS, Capacity, Layer
from components.settings.mistakes import Mistake
from components.settings.networks import Cidr, ranges_are_sound
from components.settings.parts import Parts

ACCOUNT_PATTERN = "^[0-9]{12}$"
ROLE_PATTERN = r"^arn:aws:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$"
CERTIFICATE_PATTERN = r"^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]{36}$"
ZONE_PATTERN = r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$"
PATTERNS = {
    ACCOUNT_PATTERN: "an account is 12 digits, in quotes",
    ROLE_PATTERN: "a role is arn:aws:iam::ACCOUNT:role/NAME",
    CERTIFICATE_PATTERN: "a certificate is arn:aws:acm:REGION:ACCOUNT:certificate/ID",
    TARGET_PATTERN: TARGET_RULE,
    VERSION_PATTERN: VERSION_RULE,
    ADDON_PATTERN: ADDON_RULE,
    RELEASE_PATTERN: RELEASE_RULE,
    ZONE_PATTERN: "a zone is a region and a letter, such as us-east-1a",
}
"""Pattern -> the rule in words, for `components.settings.load`."""

RESERVATION = re.compile(r"cr-[0-9a-f]{8}([0-9a-f]{9})?")
"""Id of a capacity reservation of EC2."""
LONGEST_PAUSE_SECONDS = 340
"""After which Global Accelerator forgets a connection on which nothing is sent; it cannot be changed (Global
Accelerator Developer Guide, "How AWS Global Accelerator works", read 2026-11-24)."""


Zone = Annotated[str, StringConstraints(pattern=ZONE_PATTERN)]


class AwsNetwork(Frozen):
    """The network of one region."""

    cidr: Cidr = Field(description="Range of the VPC; its subnets follow from it.")
    zones: Annotated[tuple[Zone, ...], Field(min_length=2, max_length=3)] = Field(
        description="Availability zones of the subnets. Names mean other zones in another account."
    )
    accelerator_zones: Mapping[Name, Annotated[tuple[Zone, ...], Field(min_length=1)]] = Field(
        default={},
        description="Accelerator, or `system` for the system nodes -> those of the zones that offer its machine type "
        "in your account. Left out, the zones of the catalog, which come from the answer to one account.",
    )
    certificate: Annotated[str, StringConstraints(pattern=CERTIFICATE_PATTERN)] = Field(
        description="Certificate of ACM in this region for `domain`: the load balancer speaks TLS only."
    )
    operators: tuple[Cidr, ...] = Field(
        default=(),
        description="Ranges from which `up` and administrators reach the API server, which answers inside the VPC "
        "only: of a peered network, a VPN or a runner's subnet.",
    )
    extra_routes: tuple[ExtraRoute, ...] = Field(
        default=(),
        description="Routes of the private subnets to joined networks, such as that of `operators`.",
    )
    public_access: tuple[Cidr, ...] = Field(
        default=(),
        description="Public ranges from which `up` and administrators also reach the API server. Left out, it answers "
        "inside the VPC only.",
    )

    def zones_with(self, name: str) -> tuple[str, ...]:
        """Zones for nodes with an accelerator, or for the system nodes."""
        return self.accelerator_zones.get(name) or offering(name, self.zones)


class AwsTarget(ClusterTarget):
    """EKS in one or more regions of an account."""

    name: Annotated[Literal["aws"], Field(description="Regions are clusters of EKS.")]
    account: Annotated[str, StringConstraints(pattern=ACCOUNT_PATTERN)] = Field(
        description="Account; credentials of any other are refused."
    )
    administrators: tuple[Annotated[str, StringConstraints(pattern=ROLE_PATTERN)], ...] = Field(
        default=(), description="IAM roles that administer the clusters."
    )
    networks: Mapping[str, AwsNetwork] = Field(
        default={}, description="The network of each region, by its name."
    )
    kubernetes: Annotated[str, StringConstraints(pattern=VERSION_PATTERN)] | None = Field(
        default=None,
        description="Version of Kubernetes of clusters and nodes. Left out, EKS chooses its default when a cluster is "
        "made. A version can only be raised, by one at a time.",
    )
    addons: Mapping[str, Annotated[str, StringConstraints(pattern=ADDON_PATTERN)]] = Field(
        default={},
        description="Versions of EKS add-ons, by name. Left out, a cluster with a pinned version of Kubernetes has "
        "those of the table in components/aws/versions.py, and EKS chooses the rest.",
    )
    node_release: Annotated[str, StringConstraints(pattern=RELEASE_PATTERN)] | None = Field(
        default=None,
        description="Release of Bottlerocket on all nodes. Left out, a node group has the latest of the day on which "
        "it is made or its version of Kubernetes is raised.",
    )
    autoscaler: Image = Field(
        default=UNRESOLVED,
        description="Image of the cluster autoscaler, of the same minor version as Kubernetes.",
    )

    @property
    def versions(self) -> ClusterVersions:
        """What the clusters are made of."""
        return pinned(self.kubernetes, self.addons, self.node_release)


def aws_rules(parts: Parts, target: AwsTarget) -> Iterable[Mistake]:
    """Rules that hold on AWS only."""
    yield from cluster_rules(parts, target, target.name, target.networks, "s3://")
    ranges = {f"target.networks.{region}.cidr": network.cidr for region, network in target.networks.items()}
    yield from ranges_are_sound(ranges, dict.fromkeys(ranges, (SHORTEST_PREFIX, LONGEST_PREFIX)))
    for region, network in target.networks.items():
        yield from reach_is_sound(f"target.networks.{region}", network)
        yield from _network_is_of_its_region(f"target.networks.{region}", region, target.account, network)
    yield from versions_are_sound("target", target.kubernetes, target.addons, target.node_release)
    yield from machines_are_in_the_zones(parts, target.networks)
    yield from _administrators_are_told_apart(target)
    yield from _reservations_are_of_ec2(parts)
    yield from _pauses_are_bearable(parts)
    layers = parts.layers() or frozenset[str]()
    if Layer.PLATFORM.value in layers and not target.administrators:
        yield Mistake(
            "target.administrators",
            [],
            "nobody but the cluster's own services could reach it: its creator is given no rights",
            "Name at least one IAM role, the one that runs `up` included",
        )


def _network_is_of_its_region(path: str, region: str, account: str, network: AwsNetwork) -> Iterable[Mistake]:
    for index, zone in enumerate(network.zones):
        if zone[:-1] != region:
            yield Mistake(
                f"{path}.zones[{index}]",
                zone,
                f"is no zone of region {region!r}",
                f"Choose zones such as {region}a",
            )
    _, _, _, issued_in, owner, _ = network.certificate.split(":")
    if (issued_in, owner) != (region, account):
        yield Mistake(
            f"{path}.certificate",
            network.certificate,
            f"a load balancer takes a certificate of its own region, {region!r}, and account, {account}",
            "Issue one there",
        )


def role_name(role: str) -> str:
    """The part of a role's ARN that names of resources hold: its path and name, without the account."""
    return role.partition(":role/")[2].replace("/", "-")


def _administrators_are_told_apart(target: AwsTarget) -> Iterable[Mistake]:
    first: dict[str, str] = {}
    for index, role in enumerate(target.administrators):
        other = first.setdefault(role_name(role), role)
        if other != role:
            yield Mistake(
                f"target.administrators[{index}]",
                role,
                f"the cluster's access entries are called by the role's path and name, {role_name(role)!r}, and so is "
                f"that of {other}",
                "Give one of the roles another name",
            )


def _reservations_are_of_ec2(parts: Parts) -> Iterable[Mistake]:
    for index, pool in parts.pools:
        used = pool.reservation if Capacity.RESERVED in pool.ladder else None
        if used is not None and not RESERVATION.fullmatch(used):
            yield Mistake(
                f"pools[{index}].reservation",
                used,
                "EC2 knows a capacity reservation by its id, cr- and 17 hexadecimal digits",
                "Write the id that `aws ec2 describe-capacity-reservations` lists",
            )


def _pauses_are_bearable(parts: Parts) -> Iterable[Mistake]:
    """The endpoint gives up first: otherwise a caller gets no error that says why."""
    endpoint = parts.endpoint()
    longest = LONGEST_PAUSE_SECONDS - SILENCE_MARGIN_SECONDS
    if endpoint is not None and endpoint.idle_timeout_seconds > longest:
        yield Mistake(
            "endpoint.idle_timeout_seconds",
            endpoint.idle_timeout_seconds,
            f"Global Accelerator forgets a connection after {LONGEST_PAUSE_SECONDS} seconds without a byte, and the "
            f"endpoint ends an answer {SILENCE_MARGIN_SECONDS} seconds before, so that the caller gets its error",
            f"Choose at most {longest}",
        )


def aws_unresolved(target: AwsTarget, layers: Sequence[Layer]) -> Iterator[str]:
    """Key paths of what nobody has looked up, as far as the layers use it."""
    yield from unresolved(target, layers)
    if Layer.PLATFORM in layers and target.autoscaler == UNRESOLVED:
        yield "target.autoscaler"
