"""EKS in one region: the control plane, and who may reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi import Input, Output, ResourceOptions

from components.aws.logs import log_group
from components.aws.policies import service_trust
from components.aws.settings import role_name
from components.aws.system import AwsSystemNodes
from components.aws.versions import ClusterVersions

SUFFIX = 8
"""Digits of the VPC's id that end a cluster's name. EKS writes its last logs after a cluster and its log group are
gone, and so makes a group of that name again; a region that is made a second time has another VPC, and so another
name (terraform-aws-eks, issue 2486, read 2026-11-30)."""
LONGEST_NAME = 100 - SUFFIX - 1
"""Of a cluster's name before its suffix (EKS API as modelled in botocore 1.44.8, ClusterName, read 2026-11-24)."""
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
"""All that there are (EKS API as modelled in botocore 1.44.8, LogType, read 2026-11-24)."""
CLUSTER_POLICY = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
"""Names: awsdocs/amazon-eks-user-guide, auto-cluster-iam-role.adoc and access-policy-reference.adoc, read
2026-11-24."""
HTTPS = 443


def called(name: str, vpc: str) -> str:
    """Name of a cluster: what names it to people, and the last digits of its VPC's id."""
    return f"{name}-{vpc[-SUFFIX:]}"


class AwsClusterArgs(TypedDict):
    """Args of `AwsCluster`."""

    account: str
    """Account that it is in."""
    region: str
    """Its region."""
    called: Input[str]
    """Its own name: log groups and people find it by that."""
    subnets: Mapping[str, Output[str]]
    """Zone -> id of its private subnet."""
    system_zones: Sequence[str]
    """Those of the zones that offer the system nodes' machine type."""
    instance_type: str
    """Of the system nodes."""
    versions: ClusterVersions
    """What the cluster is made of."""
    administrators: Sequence[str]
    """ARNs of the roles that administer it."""
    operators: Sequence[str]
    """Ranges from which the API server is reached, beside the nodes."""
    public_access: Sequence[str]
    """Public ranges from which it is reached too; none, and it has no public endpoint."""
    keys: Mapping[str, Input[str]]
    """Use (secrets, volumes, logs) -> ARN of the key."""
    labels: Mapping[str, str]
    """Tags of machines and volumes."""


class AwsCluster(pulumi.ComponentResource):
    """The API server answers inside the VPC, and to public ranges that the stack file names; whoever runs `up` is in
    one of them, or has a way into the VPC (docs/decisions/0008-aws.md). Its creator has no rights: roles are named, and
    mapped by EKS, not by a ConfigMap."""

    def __init__(self, name: str, args: AwsClusterArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsCluster", name, {}, opts)
        mine = ResourceOptions(parent=self)
        # A cluster of before keeps the name that it has, and so does its log group.
        named = ResourceOptions(parent=self, ignore_changes=["name"])
        self.logs = log_group(
            name, args["keys"]["logs"], named, Output.concat("/aws/eks/", args["called"], "/cluster")
        )
        self.role = aws.iam.Role(name, assume_role_policy=service_trust("eks.amazonaws.com"), opts=mine)
        self.role_policy = aws.iam.RolePolicyAttachment(
            name, role=self.role.name, policy_arn=CLUSTER_POLICY, opts=mine
        )
        self.cluster = aws.eks.Cluster(
            name,
            name=args["called"],
            version=args["versions"].kubernetes,
            role_arn=self.role.arn,
            vpc_config={
                "subnet_ids": list(args["subnets"].values()),
                "endpoint_private_access": True,
                "endpoint_public_access": bool(args["public_access"]),
                "public_access_cidrs": list(args["public_access"]) or None,
            },
            access_config={
                "authentication_mode": "API",
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            encryption_config={
                "provider": {"key_arn": args["keys"]["secrets"]},
                "resources": ["secrets"],
            },
            enabled_cluster_log_types=list(LOG_TYPES),
            bootstrap_self_managed_addons=False,
            upgrade_policy={"support_type": "STANDARD"},
            # The log group first: EKS would make its own, without key and end. The policy last of what goes.
            opts=ResourceOptions.merge(named, ResourceOptions(depends_on=[self.logs, self.role_policy])),
        )
        self.security_group = self.cluster.vpc_config.cluster_security_group_id.apply(str)
        """Of the control plane and of every node."""
        reachable = [*self._administrators(name, args), *self._operators(name, args)]
        self.system = AwsSystemNodes(
            f"{name}-system",
            {
                "cluster": self.cluster.name,
                "cluster_arn": self.cluster.arn,
                "subnets": args["subnets"],
                "zones": args["system_zones"],
                "versions": args["versions"],
                "instance_type": args["instance_type"],
                "volumes_key": args["keys"]["volumes"],
                "labels": args["labels"],
            },
            mine,
        )
        authority = self.cluster.certificate_authority.data
        self.kubeconfig = Output.secret(
            Output.all(self.cluster.name, self.cluster.endpoint, authority).apply(
                lambda found: kubeconfig(args["region"], *found)
            )
        )
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            # Pods need nodes and addresses: whatever is made in the cluster waits for them.
            opts=ResourceOptions(parent=self, depends_on=[self.system, *reachable]),
        )
        self.register_outputs({"name": self.cluster.name, "kubeconfig": self.kubeconfig})

    def _administrators(self, name: str, args: AwsClusterArgs) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for role in args["administrators"]:
            logical = f"{name}-{role_name(role)}"
            entry = aws.eks.AccessEntry(
                logical, cluster_name=self.cluster.name, principal_arn=role, opts=ResourceOptions(parent=self)
            )
            association = aws.eks.AccessPolicyAssociation(
                logical,
                cluster_name=self.cluster.name,
                principal_arn=entry.principal_arn,
                policy_arn=ADMIN_POLICY,
                access_scope={"type": "cluster"},
                opts=ResourceOptions(parent=self),
            )
            made.append(association)
        return made

    def _operators(self, name: str, args: AwsClusterArgs) -> list[pulumi.Resource]:
        return [
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-from-{cidr.replace('/', '-')}",
                security_group_id=self.security_group,
                description="API server, for operators",
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                opts=ResourceOptions(parent=self),
            )
            for cidr in args["operators"]
        ]


def kubeconfig(region: str, cluster: str, endpoint: str, authority: str) -> str:
    """A kubeconfig without a credential: the AWS CLI makes a token for whoever runs `up`.

    Args:
        region: of the cluster.
        cluster: its name.
        endpoint: URL of the API server.
        authority: its certificate authority, in base64.
    """
    token = ["eks", "get-token", "--cluster-name", cluster, "--region", region, "--output", "json"]
    user = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": token}
    server = {"server": endpoint, "certificate-authority-data": authority}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": server}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
            "current-context": cluster,
            "users": [{"name": cluster, "user": {"exec": {**user, "interactiveMode": "Never"}}}],
        }
    )
