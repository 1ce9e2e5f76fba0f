"""What a cluster needs before it can carry anything: add-ons, and nodes for what runs beside the workloads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.aws.identity import AwsPodRole, association_delay
from components.aws.nodes import IMAGES, NodeSetup, launch_template, version_of
from components.aws.policies import service_trust
from components.aws.versions import ClusterVersions
from components.catalog.rows import Kind

MACHINE = "m5.large"
"""2 vCPUs and 8 GiB: a gateway, the cluster's own pods and those of the add-ons."""
MACHINES_ELSEWHERE = {"ap-southeast-5": "m6i.large"}
"""Regions without that, by EC2's offerings as bundled in moto 5.2.5 (read 2026-11-24), which a test compares."""
LARGEST_PER_ZONE = 2
MANAGED = "arn:aws:iam::aws:policy/"
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
"""What a node may do by itself: join, hand out pod identities, pull images (awsdocs/amazon-eks-user-guide,
create-node-role.adoc, read 2026-11-24). Addresses for pods are the network add-on's own right."""
NETWORK_ADDON, NETWORK_ACCOUNT, NETWORK_POLICY = "vpc-cni", "aws-node", "AmazonEKS_CNI_Policy"
BEFORE_NODES: Mapping[str, Mapping[str, Any]] = {
    "eks-pod-identity-agent": {},
    "kube-proxy": {},
    NETWORK_ADDON: {"enableNetworkPolicy": "true"},
}
"""Add-on -> its configuration. Without a network no node becomes ready, so these are there first; they are DaemonSets,
and content without a node."""
AFTER_NODES: Mapping[str, Mapping[str, Any]] = {"coredns": {}, "metrics-server": {}}
"""Deployments, which would be called degraded without a node to run on."""


def machine_in(region: str) -> str:
    """Instance type of the system nodes."""
    return MACHINES_ELSEWHERE.get(region, MACHINE)


def scaling_group_of(made: Sequence[Any]) -> str:
    """Name of the Auto Scaling group, from what EKS says it made for a node group."""
    return made[0].autoscaling_groups[0].name


class AwsSystemNodesArgs(TypedDict):
    """Args of `AwsSystemNodes`."""

    cluster: Output[str]
    """Name of the cluster, known when it stands."""
    cluster_arn: Input[str]
    """Its ARN."""
    subnets: Mapping[str, Output[str]]
    """Zone -> id of its private subnet."""
    zones: Sequence[str]
    """Those of the zones that offer the instance type."""
    instance_type: str
    """Of the system nodes."""
    versions: ClusterVersions
    """What the cluster is made of."""
    volumes_key: Input[str]
    """ARN of the key that encrypts their volumes."""
    labels: Mapping[str, str]
    """Tags of machines and volumes."""


class AwsSystemNodes(pulumi.ComponentResource):
    """A node in each zone, on demand, and the add-ons. They have no taint: what names no pool runs here."""

    def __init__(self, name: str, args: AwsSystemNodesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsSystemNodes", name, {}, opts)
        mine = ResourceOptions(parent=self)
        self._name, self._cluster = name, args["cluster"]
        self._versions = args["versions"].addons
        self.role = aws.iam.Role(name, assume_role_policy=service_trust("ec2.amazonaws.com"), opts=mine)
        rights = [self._attach(self.role, policy, policy) for policy in NODE_POLICIES]
        self.network = AwsPodRole(
            f"{name}-network",
            {
                "cluster": args["cluster"],
                "cluster_arn": args["cluster_arn"],
                "namespace": "kube-system",
                "account": NETWORK_ACCOUNT,
            },
            mine,
        )
        reach = self._attach(self.network.role, "network", NETWORK_POLICY)
        effective = association_delay(f"{name}-network", self.network)
        ready: list[pulumi.Resource] = [*rights, reach, effective]
        self.addons = {addon: self._addon(addon, BEFORE_NODES[addon], ready) for addon in BEFORE_NODES}
        joined = Output.all(args["cluster"], *(addon.id for addon in self.addons.values()))
        self.setup: NodeSetup = {
            "cluster": joined.apply(lambda known: known[0]),
            "role": self.role.arn,
            "subnets": args["subnets"],
            "versions": args["versions"],
            "volumes_key": args["volumes_key"],
            "labels": args["labels"],
        }
        """For every other node group of the cluster."""
        self.template = launch_template(name, self.setup, mine)
        zones = len(args["zones"])
        self.node_group = aws.eks.NodeGroup(
            name,
            cluster_name=self.setup["cluster"],
            node_role_arn=self.role.arn,
            subnet_ids=[args["subnets"][zone] for zone in args["zones"]],
            ami_type=IMAGES[Kind.CPU, "amd64"],
            version=args["versions"].kubernetes,
            release_version=args["versions"].release,
            capacity_type="ON_DEMAND",
            instance_types=[args["instance_type"]],
            launch_template=version_of(self.template),
            scaling_config={
                "min_size": zones,
                "desired_size": zones,
                "max_size": zones * LARGEST_PER_ZONE,
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            opts=ResourceOptions(parent=self, ignore_changes=["scalingConfig.desiredSize"]),
        )
        self.scaling_group = self.node_group.resources.apply(scaling_group_of)
        """Name of the group of machines, which a load balancer is attached to."""
        self.addons |= {
            addon: self._addon(addon, AFTER_NODES[addon], [self.node_group]) for addon in AFTER_NODES
        }
        self.register_outputs({"scalingGroup": self.scaling_group})

    def _attach(self, role: aws.iam.Role, suffix: str, policy: str) -> aws.iam.RolePolicyAttachment:
        return aws.iam.RolePolicyAttachment(
            f"{self._name}-{suffix}",
            role=role.name,
            policy_arn=f"{MANAGED}{policy}",
            opts=ResourceOptions(parent=self),
        )

    def _addon(
        self, addon: str, configuration: Mapping[str, Any], after: list[pulumi.Resource]
    ) -> aws.eks.Addon:
        return aws.eks.Addon(
            f"{self._name}-{addon}",
            addon_name=addon,
            addon_version=self._versions.get(addon),
            cluster_name=self._cluster,
            configuration_values=json.dumps(configuration) if configuration else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=ResourceOptions(parent=self, depends_on=after),
        )
