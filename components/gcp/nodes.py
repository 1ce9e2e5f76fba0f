"""What every node of a cluster has in common: an account with few rights, and a shielded, encrypted disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
from pulumi import Input, ResourceOptions
from pulumi_gcp.container import NodePoolNodeConfigArgsDict, NodePoolNodeConfigKubeletConfigArgsDict

from components.catalog.disks import POOL_DISKS, SYSTEM_DISKS
from components.delay import Delay
from components.gcp.identity import IAM_SECONDS

ROLES = {
    "runtime": "roles/container.defaultNodeServiceAccount",
    "images": "roles/artifactregistry.reader",
}
"""What nodes may do in the project: write logs and metrics, pull images. Source: Google's page "Configure GKE node
service accounts" (the first is the least that GKE wants), IAM's lists of what both roles hold (apstndb/iam-docs-mirror
at f18d8b7b) and CIS GKE benchmark 2.0.0, 5.2.1, which names both, read 2026-11-24."""
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
"""OAuth scopes limit nothing that IAM does not. That Google recommends this one and roles instead is unresolved: from
memory, not looked up."""


@dataclass(frozen=True)
class Disk:
    """Boot disk of a node."""

    type: str
    """Such as pd-balanced."""
    gib: int


POOL_DISK_GIB = POOL_DISKS["gcp"].gib
"""Boot disk of a node in a pool: images of training workloads are several GiB each, and a node keeps a few."""
SYSTEM_DISK = Disk("pd-balanced", SYSTEM_DISKS["gcp"].gib)
"""Boot disk of a system node. Three of them fit into the 250 GB of SSD that new projects are given
(terraform-google-modules/terraform-google-kubernetes-engine#1795 and kubeflow/pipelines#10907 report 250 and 500)."""
DISCARDED_DISK = Disk("pd-standard", 64)
"""Boot disk of the nodes that GKE makes with the cluster and that are removed at once: it takes no quota of SSD."""
KUBELET: NodePoolNodeConfigKubeletConfigArgsDict = {"insecure_kubelet_readonly_port_enabled": "FALSE"}
"""No port of the kubelet answers without authentication."""
LONGEST_POOL_NAME = 32
"""Of a node pool's logical name: GKE allows 40 characters, and 8 are the random end of an autoname. The 40 are
unresolved: from memory, not looked up."""


class GcpNodeAccountArgs(TypedDict):
    """Args of `GcpNodeAccount`."""

    project: str
    """Project in which the nodes run and write logs."""
    account: str
    """Id of the account, 6 to 30 characters."""


class GcpNodeAccount(pulumi.ComponentResource):
    """The Google service account of a cluster's nodes. Pods never act as it: they see only GKE's metadata server."""

    def __init__(self, name: str, args: GcpNodeAccountArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpNodeAccount", name, {}, opts)
        mine = ResourceOptions(parent=self)
        self.account = gcp.serviceaccount.Account(
            name, account_id=args["account"], display_name="Nodes of a cluster", opts=mine
        )
        self.grants = {
            use: gcp.projects.IAMMember(
                f"{name}-{use}",
                project=args["project"],
                role=role,
                member=self.account.member,
                opts=mine,
            )
            for use, role in ROLES.items()
        }
        self.effective = Delay(name, IAM_SECONDS, {use: grant.id for use, grant in self.grants.items()}, mine)
        self.email = pulumi.Output.all(self.account.email, self.effective.id).apply(lambda known: known[0])
        """Email of the account, known when its roles are effective."""
        self.register_outputs({"email": self.email})


class NodeSetup(TypedDict):
    """What the nodes of every pool get."""

    account: Input[str]
    """Email of their service account."""
    disk_key: Input[str]
    """Key that encrypts their boot disks."""


def node_config(
    machine_type: str, disk: Disk, setup: NodeSetup, labels: Mapping[str, str]
) -> NodePoolNodeConfigArgsDict:
    """Nodes of a machine type, hardened: pods see nothing of the node's own account, and nothing unsigned boots."""
    return {
        "machine_type": machine_type,
        "image_type": "COS_CONTAINERD",
        "service_account": setup["account"],
        "oauth_scopes": list(SCOPES),
        "boot_disk_kms_key": setup["disk_key"],
        "disk_type": disk.type,
        "disk_size_gb": disk.gib,
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "metadata": {"disable-legacy-endpoints": "true"},
        "kubelet_config": KUBELET,
        "gvnic": {"enabled": True},
        "labels": dict(labels),
    }
