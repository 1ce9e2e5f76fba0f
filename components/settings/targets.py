"""The targets' own settings, as one union told apart by `name`. A new target is one line in each table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from components.aws import settings as aws
from components.gcp import settings as gcp
from components.k8s import settings as clusters
from components.local.settings import LocalTarget, local_rules
from components.settings import networks
from components.settings.items import Layer
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

TargetSettings = LocalTarget | aws.AwsTarget | gcp.GcpTarget
"""Every target's settings."""

TARGET_RULES: Mapping[str, Callable[[Parts, Any], Iterable[Mistake]]] = {
    "local": local_rules,
    "aws": aws.aws_rules,
    "gcp": gcp.gcp_rules,
}
"""Target -> rules that hold on that target only, over the parts and the target's own settings."""

TARGET_UNRESOLVED: Mapping[str, Callable[[Any, Sequence[Layer]], Iterator[str]]] = {
    "local": lambda target, layers: iter(()),
    "aws": aws.aws_unresolved,
    "gcp": clusters.unresolved,
}
"""Target -> key paths of facts that nobody has looked up, as far as the layers use them."""

TARGET_PATTERNS: Mapping[str, str] = {
    networks.CIDR_PATTERN: networks.CIDR_RULE,
    clusters.IMAGE_PATTERN: clusters.IMAGE_RULE,
    clusters.NAMESPACE_PATTERN: clusters.NAMESPACE_RULE,
    clusters.DOMAIN_PATTERN: clusters.DOMAIN_RULE,
    **aws.PATTERNS,
    **gcp.PATTERNS,
}
"""Patterns of the targets' own settings -> the rule in words."""


def told_apart(union: Any) -> str | None:
    """The discriminator of a union of targets; a union of one has none."""
    return "name" if get_args(union) else None
