"""Versions on EKS in one table: Kubernetes with the end of its support, and the add-ons that fit it; and the rules over
what a stack file pins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from components.settings.mistakes import Mistake

AS_OF = "2026-12-01"
"""When the table was read. The rules compare with this date and not with today's: a stack file that was right stays
right until somebody renews the table."""


@dataclass(frozen=True)
class Row:
    """One version of Kubernetes on EKS."""

    support_ends: str
    """Last day of its standard support, after which EKS raises clusters with support type STANDARD by itself."""
    addons: Mapping[str, str] = field(default_factory=dict[str, str])
    """Add-on -> the version that new clusters get. What is not here, EKS chooses when it makes the add-on."""


TABLE: Mapping[str, Row] = {
    "1.32": Row("2026-03-23"),
    "1.33": Row("2026-07-29"),
    "1.34": Row(
        "2026-12-02",
        {
            "coredns": "v1.13.1-eksbuild.1",
            "eks-pod-identity-agent": "v1.3.10-eksbuild.2",
            "kube-proxy": "v1.34.1-eksbuild.2",
            "vpc-cni": "v1.21.1-eksbuild.1",
        },
    ),
    "1.35": Row(
        "2027-03-27",
        {
            "coredns": "v1.13.2-eksbuild.1",
            "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
            "kube-proxy": "v1.35.0-eksbuild.2",
            "metrics-server": "v0.8.0-eksbuild.6",
            "vpc-cni": "v1.21.1-eksbuild.3",
        },
    ),
}
"""Sources of the dates, read on `AS_OF`: awsdocs/amazon-eks-user-guide at 0138560, kubernetes-versions.adoc, up to
1.34; for 1.35 endoflife.date/amazon-eks as of February 2026. The add-ons: public configurations of clusters of these
versions as of February 2026 and later, of which two agree on kube-proxy and vpc-cni, read on `AS_OF`. AWS' own answer
to DescribeAddonVersions was not asked, so they are unresolved, and a stack file may name others. Newer versions of
Kubernetes are unresolved: EKS has 1.36, whose dates were not found. So are releases of Bottlerocket, of which EKS takes
those that were published for its version (cloudposse/terraform-aws-eks-node-group, issue 209, same day)."""
ADDONS = ("coredns", "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni")
"""The add-ons of every cluster."""
VERSION_PATTERN = r"^1\.[0-9]{2}$"
VERSION_RULE = 'a version of Kubernetes is written in quotes, such as "1.35"'
ADDON_PATTERN = r"^v[0-9]+\.[0-9]+\.[0-9]+-eksbuild\.[0-9]+$"
ADDON_RULE = (
    "a version of an add-on is such as v1.21.1-eksbuild.3; `aws eks describe-addon-versions` lists them"
)
RELEASE_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+-[0-9a-f]{8}$"
RELEASE_RULE = (
    "a release of Bottlerocket is such as 1.34.0-18d04e52; the parameter "
    "/aws/service/bottlerocket/aws-k8s-VERSION/x86_64/latest/image_version of SSM holds the latest"
)


@dataclass(frozen=True)
class ClusterVersions:
    """What a cluster is made of. What is left out, EKS chooses when it makes the part."""

    kubernetes: str | None = None
    addons: Mapping[str, str] = field(default_factory=dict[str, str])
    """Add-on -> version."""
    release: str | None = None
    """Of the nodes' Bottlerocket."""


def pinned(kubernetes: str | None, addons: Mapping[str, str], release: str | None) -> ClusterVersions:
    """The versions of a stack file: add-ons that it does not name have those of the table."""
    row = TABLE.get(kubernetes) if kubernetes else None
    of_table = row.addons if row else {}
    return ClusterVersions(kubernetes, {**of_table, **addons}, release)


def versions_are_sound(
    path: str, kubernetes: str | None, addons: Mapping[str, str], release: str | None
) -> Iterable[Mistake]:
    """A pinned version of Kubernetes is in the table and supported, and what is pinned beside it fits it."""
    supported = [known for known, row in TABLE.items() if row.support_ends > AS_OF]
    if kubernetes is not None and kubernetes not in supported:
        ended = TABLE[kubernetes].support_ends if kubernetes in TABLE else None
        yield Mistake(
            f"{path}.kubernetes",
            kubernetes,
            f"its standard support ended on {ended}, and EKS raises such a cluster by itself"
            if ended
            else "the table of versions (components/aws/versions.py) does not have it",
            f"Choose one of: {', '.join(supported)}; or add a row with its date and source",
        )
    for addon in addons:
        if addon not in ADDONS:
            yield Mistake(
                f"{path}.addons",
                addon,
                "no cluster of this target has such an add-on",
                f"Choose from: {', '.join(ADDONS)}",
            )
    if kubernetes is None and (addons or release):
        yield Mistake(
            f"{path}.kubernetes",
            None,
            "versions of add-ons and nodes fit one version of Kubernetes, and EKS would choose that",
            f"Pin it as well; one of: {', '.join(supported)}",
        )
    proxy = addons.get("kube-proxy")
    if kubernetes and proxy and not proxy.startswith(f"v{kubernetes}."):
        yield Mistake(
            f"{path}.addons.kube-proxy",
            proxy,
            f"it follows the version of Kubernetes, which is {kubernetes}",
            f"Choose a version that begins with v{kubernetes}.",
        )
