"""The namespace of everything that a region runs, closed by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Resource, ResourceOptions

from components.k8s import pods

PROFILE = "restricted"
DNS = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]


class K8sNamespaceArgs(TypedDict):
    """Args of `K8sNamespace`."""

    labels: Mapping[str, str]
    """Labels of the stack."""
    resolvers: Sequence[str]
    """CIDRs at which names are told beside the cluster's own DNS."""
    after: Sequence[Resource]
    """What must exist before anything in the namespace does."""


class K8sNamespace(pulumi.ComponentResource):
    """A namespace under Pod Security `restricted` in which nothing reaches or is reached by anything but DNS, until a
    policy of one's own says so."""

    def __init__(self, name: str, args: K8sNamespaceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:K8sNamespace", name, {}, opts)
        child = ResourceOptions(parent=self)
        security = {f"pod-security.kubernetes.io/{mode}": PROFILE for mode in ("enforce", "audit", "warn")}
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-namespace",
            metadata={"name": pods.NAMESPACE, "labels": {**args["labels"], **security}},
            opts=ResourceOptions(parent=self, depends_on=args["after"]),
        )
        self.name = self.namespace.metadata.apply(lambda made: made.name or pods.NAMESPACE)
        self.default_deny = k8s.networking.v1.NetworkPolicy(
            f"{name}-default-deny",
            metadata={"name": "default-deny", "namespace": self.name},
            spec=pods.plain({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
            opts=child,
        )
        resolvers = [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
            *({"ipBlock": {"cidr": cidr}} for cidr in args["resolvers"]),
        ]
        self.dns = k8s.networking.v1.NetworkPolicy(
            f"{name}-dns",
            metadata={"name": "dns", "namespace": self.name},
            spec=pods.plain(
                {
                    "podSelector": {},
                    "policyTypes": ["Egress"],
                    "egress": [{"to": resolvers, "ports": DNS}],
                }
            ),
            opts=child,
        )
        self.register_outputs({"name": self.name})
