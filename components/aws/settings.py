"""Settings of target `aws`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from components.aws.subnets import LONGEST_PREFIX, SHORTEST_PREFIX
from components.k8s.settings import UNRESOLVED, ClusterTarget, Image, cluster_rules, unresolved
from components.settings.base import Frozen
from components.settings.items import Layer
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
    ZONE_PATTERN: "a zone is a region and a letter, such as us-east-1a",
}
"""Pattern -> the rule in words, for `components.settings.load`."""


class AwsNetwork(Frozen):
    """The network of one region."""

    cidr: Cidr = Field(description="Range of the VPC; its subnets follow from it.")
    zones: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=ZONE_PATTERN)], ...], Field(min_length=2, max_length=3)
    ] = Field(description="Availability zones of the subnets. Names mean other zones in another account.")
    certificate: Annotated[str, StringConstraints(pattern=CERTIFICATE_PATTERN)] = Field(
        description="Certificate of ACM in this region for `domain`: the load balancer speaks TLS only."
    )


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
    autoscaler: Image = Field(default=UNRESOLVED, description="Image of the cluster autoscaler.")


def aws_rules(parts: Parts, target: AwsTarget) -> Iterable[Mistake]:
    """Rules that hold on AWS only."""
    yield from cluster_rules(parts, target, target.networks, "s3://")
    ranges = {f"target.networks.{region}.cidr": network.cidr for region, network in target.networks.items()}
    yield from ranges_are_sound(ranges, dict.fromkeys(ranges, (SHORTEST_PREFIX, LONGEST_PREFIX)))
    for region, network in target.networks.items():
        for index, zone in enumerate(network.zones):
            if zone[:-1] != region:
                yield Mistake(
                    f"target.networks.{region}.zones[{index}]",
                    zone,
                    f"is no zone of region {region!r}",
                    f"Choose zones such as {region}a",
                )
        if len(set(network.zones)) < len(network.zones):
            yield Mistake(
                f"target.networks.{region}.zones",
                list(network.zones),
                "names a zone twice",
                "Choose different zones",
            )
        if network.certificate.split(":")[3] != region:
            yield Mistake(
                f"target.networks.{region}.certificate",
                network.certificate,
                f"a load balancer takes a certificate of its own region, {region!r}",
                "Issue one there",
            )
    layers = parts.layers() or frozenset[str]()
    if Layer.PLATFORM.value in layers and not target.administrators:
        yield Mistake(
            "target.administrators",
            [],
            "nobody but the cluster's own services could reach it: its creator is given no rights",
            "Name at least one IAM role, the one that runs `up` included",
        )


def aws_unresolved(target: AwsTarget, layers: Sequence[Layer]) -> Iterator[str]:
    """Key paths of what nobody has looked up, as far as the layers use it."""
    yield from unresolved(target, layers)
    if Layer.PLATFORM in layers and target.autoscaler == UNRESOLVED:
        yield "target.autoscaler"
