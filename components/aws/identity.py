"""Identities of pods: EKS Pod Identity binds a role to a service account, and nothing is annotated.

Source for what its agent does: awsdocs/amazon-eks-user-guide, service-accounts.adoc, read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, collapse_addresses
from typing import TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.aws.policies import Statement, document
from components.contracts import Access, Egress, Grant, ServiceAccount, TierAccess
from components.delay import Delay
from components.naming import physical_name

LONGEST_ROLE = 64 - 8
"""Of a role's name (IAM API as modelled in botocore 1.44.8, roleNameType, read 2026-11-24), less what autonaming
appends."""
ASSOCIATION_SECONDS = 30
"""How long an agent waits for its association to be effective: "several seconds" after the call (EKS API, page of
CreatePodIdentityAssociation, read 2026-12-01); users waited 15 (eksctl, issue 7709, same day), and this is twice that.
EKS puts credentials into a pod when the pod is created, so restarting its containers does not help. Pods of a region
wait for a check of their access instead; agents of the cluster come before any pod that could check."""
AGENT = "169.254.170.23/32"
"""Where the agent on a pod's own node hands out credentials, over HTTP (same source)."""
HTTP, HTTPS = 80, 443
NOT_PUBLIC = tuple(
    IPv4Network(block)
    for block in ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
)
"""RFC 1918, RFC 6598, RFC 3927."""

READ = ("s3:GetObject",)
WRITE = ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject")
"""To replace a folder is also to delete what is in it no more; the bucket keeps old versions for a while."""
DECRYPT, ENCRYPT = ("kms:Decrypt",), ("kms:GenerateDataKey",)


def public_ranges(private: Sequence[IPv4Network] = NOT_PUBLIC) -> tuple[str, ...]:
    """All addresses but private ones, as few ranges as can be."""
    left = [IPv4Network("0.0.0.0/0")]
    for block in private:
        left = [
            part
            for network in left
            for part in (network.address_exclude(block) if block.subnet_of(network) else [network])
        ]
    return tuple(str(network) for network in collapse_addresses(left))


EGRESS = (Egress(AGENT, HTTP), *(Egress(cidr, HTTPS) for cidr in public_ranges()))
"""The agent, and S3. S3 answers from public addresses (VPC guide, "Gateway endpoints", read 2026-11-24), in hundreds of
ranges that AWS changes several times a week (unresolved: from memory, not looked up), and a copy from another region's
bucket leaves by NAT: so public addresses are let through by TLS, and other pods, nodes and the control plane are
not."""


def split(uri: str) -> tuple[str, str]:
    """Bucket and folder of an s3:// URI, the folder without slashes at its ends."""
    bucket, _, folder = uri.removeprefix("s3://").partition("/")
    return bucket, folder.strip("/")


def statements(account: str, uri: str, access: Access) -> tuple[Statement, ...]:
    """What IAM says of one grant: the objects of a folder, listing it, and the keys that S3 needs for that.

    Source for the context of a key that S3 uses, the bucket with bucket keys and the object without:
    awsdocs/amazon-s3-userguide, UsingKMSEncryption.md, "Encryption context", read 2026-11-24.

    Args:
        account: whose keys.
        uri: the folder, or a whole bucket.
        access: what may be done with it.
    """
    bucket, folder = split(uri)
    arn = f"arn:aws:s3:::{bucket}"
    objects = f"{arn}/{folder}/*" if folder else f"{arn}/*"
    writes = access is Access.WRITE
    prefixes = {"StringLike": {"s3:prefix": [folder, f"{folder}/*"]}} if folder else {}
    use = {"kms:EncryptionContext:aws:s3:arn": [arn, objects], "kms:ViaService": "s3.*.amazonaws.com"}
    return (
        Statement((*READ, *(WRITE if writes else ())), (objects,)),
        Statement(("s3:ListBucket",), (arn,), conditions=prefixes),
        Statement(
            (*DECRYPT, *(ENCRYPT if writes else ())),
            (f"arn:aws:kms:*:{account}:key/*",),
            conditions={"StringLike": use},
            reason="KeysOfGrantedBuckets",
        ),
    )


def pod_trust(cluster_arn: str, account: ServiceAccount) -> str:
    """A trust policy for one service account of one cluster, by the tags that the agent's service puts on a session.
    Source: EKS User Guide, "Create IAM role with trust policy required by EKS Pod Identity", read 2026-11-24."""
    tags = {
        "aws:RequestTag/eks-cluster-arn": cluster_arn,
        "aws:RequestTag/kubernetes-namespace": account.namespace,
        "aws:RequestTag/kubernetes-service-account": account.name,
    }
    return document(
        Statement(
            ("sts:AssumeRole", "sts:TagSession"),
            principals={"Service": "pods.eks.amazonaws.com"},
            conditions={"StringEquals": tags},
        )
    )


class AwsPodRoleArgs(TypedDict):
    """Args of `AwsPodRole`."""

    cluster: Input[str]
    """Name of the cluster, known when it stands."""
    cluster_arn: Input[str]
    """Its ARN."""
    namespace: str
    """Namespace of the service account."""
    account: str
    """Name of the service account."""


class AwsPodRole(pulumi.ComponentResource):
    """A role that the pods of one service account have, and nobody else; whoever makes it gives it its rights."""

    def __init__(self, name: str, args: AwsPodRoleArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsPodRole", name, {}, opts)
        self.role = aws.iam.Role(
            physical_name(name, limit=LONGEST_ROLE),
            assume_role_policy=Output.from_input(args["cluster_arn"]).apply(
                lambda arn: pod_trust(arn, ServiceAccount(args["namespace"], args["account"]))
            ),
            opts=ResourceOptions(parent=self),
        )
        self.association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args["cluster"],
            namespace=args["namespace"],
            service_account=args["account"],
            role_arn=self.role.arn,
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"role": self.role.arn})


def association_delay(name: str, pods: AwsPodRole) -> Delay:
    """What starts pods of an agent waits for it: a pod that starts before its association is effective never gets
    credentials."""
    after = {"association": pods.association.id}
    return Delay(name, ASSOCIATION_SECONDS, after, ResourceOptions(parent=pods))


class AwsAccessArgs(AwsPodRoleArgs):
    """Args of `AwsAccess`."""

    owner: str
    """Account of AWS, whose keys encrypt the buckets."""


class AwsAccess(pulumi.ComponentResource):
    """What one service account may do with folders of buckets, and nothing else."""

    def __init__(
        self, name: str, args: AwsAccessArgs, grants: Sequence[Grant], opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("skerry:index:AwsAccess", name, {}, opts)
        child = ResourceOptions(parent=self)
        self.pods = AwsPodRole(
            name,
            {
                "cluster": args["cluster"],
                "cluster_arn": args["cluster_arn"],
                "namespace": args["namespace"],
                "account": args["account"],
            },
            child,
        )
        accesses = [grant.access for grant in grants]
        self.policy = aws.iam.RolePolicy(
            name,
            role=self.pods.role.id,
            policy=Output.all(*(grant.uri for grant in grants)).apply(
                lambda uris: document(
                    *(
                        statement
                        for uri, access in zip(uris, accesses, strict=True)
                        for statement in statements(args["owner"], uri, access)
                    )
                )
            ),
            opts=child,
        )
        granted = Output.all(self.policy.id, self.pods.association.id).apply(lambda _: args["account"])
        self.access = TierAccess(granted, EGRESS)
        self.register_outputs({"granted": granted})
