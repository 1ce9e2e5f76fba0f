"""What must exist before a resource of AWS, or before an object in its clusters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from tools.rehearsal.account import Account, Held, texts
from tools.rehearsal.rules import aws
from tools.rehearsal.rules.kubernetes import ASSOCIATION, cluster
from tools.rehearsal.rules.kubernetes_order import SERVICE, workloads
from tools.rehearsal.rules.needs import need

ADDON, NAT = "aws:eks/addon:Addon", "aws:ec2/natGateway:NatGateway"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
CLOSED = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
OWNED = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
VERSIONS = "aws:s3/bucketVersioning:BucketVersioning"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
BEFORE_NODES, NETWORK = ("eks-pod-identity-agent", "kube-proxy", "vpc-cni"), ("kube-system", "aws-node")
"""Add-ons that run on every node; the service account of the network's."""


def ways(account: Account, subnets: Collection[str]) -> Iterator[Held]:
    """What leads out of subnets: the links to their tables, the routes there, the gateways of services."""
    for link in account.declared("aws:ec2/routeTableAssociation:RouteTableAssociation"):
        if link.at("subnetId") in subnets:
            yield link
            table = link.at("routeTableId")
            for route in account.declared("aws:ec2/route:Route"):
                if route.at("routeTableId") == table:
                    yield route
            for gateway in account.declared("aws:ec2/vpcEndpoint:VpcEndpoint"):
                if table in (gateway.at("routeTableIds") or []):
                    yield gateway


def out_of_nat(account: Account, held: Held) -> Iterator[Held]:
    return ways(account, [held.at("subnetId")] if held.type == NAT else [])


def out_of_nodes(account: Account, held: Held) -> Iterator[Held]:
    return ways(account, held.at("subnetIds") or [] if held.type == aws.GROUP else [])


def on_every_node(account: Account, group: Held) -> Iterator[Held]:
    for addon in account.declared(ADDON) if group.type == aws.GROUP else ():
        if addon.at("clusterName") == group.at("clusterName") and addon.at("addonName") in BEFORE_NODES:
            yield addon


def below_an_addon(account: Account, addon: Held) -> Iterator[Held]:
    """Nodes, for an add-on that runs on some of them."""
    waits = addon.type == ADDON and addon.at("addonName") not in BEFORE_NODES
    for group in account.declared(aws.GROUP) if waits else ():
        if group.at("clusterName") == addon.at("clusterName") and not group.at("taints"):
            yield group


def of_the_network(account: Account, addon: Held) -> Iterator[Held]:
    """The role of the network's add-on."""
    place = (addon.at("clusterName"), *NETWORK)
    wanted = addon.type == ADDON and addon.at("addonName") == "vpc-cni"
    for found in account.declared(ASSOCIATION) if wanted else ():
        if (found.at("clusterName"), found.at("namespace"), found.at("serviceAccount")) == place:
            yield found
            for role in account.declared(aws.ROLE):
                if role.outputs.get("arn") == found.at("roleArn"):
                    yield from aws.policies(account, role)


def logs(account: Account, held: Held) -> Iterator[Held]:
    made = aws.made_anew(held)
    return (group for group in account.declared(aws.LOGS) if made and aws.identity(group) == made)


def reached(account: Account, held: Held) -> Iterator[Held]:
    """What lets the caller into the cluster of an object: its entry's rights, and the way to a private endpoint."""
    if not held.type.startswith("kubernetes:"):
        return
    for made in account.declared(aws.CLUSTER):
        if str(made.at("name")) in cluster(held):
            group = (made.outputs.get("vpcConfig") or {}).get("clusterSecurityGroupId")
            for right in account.declared("aws:eks/accessPolicyAssociation:AccessPolicyAssociation"):
                if right.at("clusterName") == made.at("name"):
                    yield right
            for rule in account.declared(INGRESS):
                if rule.at("securityGroupId") == group and rule.at("cidrIpv4") and rule.at("fromPort") == 443:
                    yield rule


def of_the_bucket(kind: str, *types: str) -> Callable[[Account, Held], Iterator[Held]]:
    """Settings of a bucket that come before another one."""

    def needed(account: Account, held: Held) -> Iterator[Held]:
        others = account.declared(*types) if held.type == kind else iter(())
        return (other for other in others if other.at("bucket") == held.at("bucket"))

    return needed


def guards(account: Account, policy: Held) -> Iterator[Held]:
    """What guards the buckets that a role may use."""
    if policy.type != ROLE_POLICY:
        return
    document = " ".join(texts(policy.inputs))
    for guard in account.declared(aws.ENCRYPTION, BUCKET_POLICY):
        if f":{guard.at('bucket')}/" in document:
            yield guard


def answers(account: Account, group: Held) -> Iterator[Held]:
    """All that makes the load balancers behind an endpoint group answer."""
    named = set(texts(group.inputs)) if group.type == aws.ENDPOINTS else set[str]()
    for balancer in account.declared("aws:lb/loadBalancer:LoadBalancer"):
        if not balancer.handles & named:
            continue
        for rule in account.declared(INGRESS, EGRESS):
            if {rule.at("securityGroupId"), rule.at("referencedSecurityGroupId")} & set(
                balancer.at("securityGroups") or []
            ):
                yield rule
        for listener in account.declared("aws:lb/listener:Listener"):
            if listener.at("loadBalancerArn") == balancer.id:
                yield listener
                for target in account.declared("aws:lb/targetGroup:TargetGroup"):
                    if target.id in texts(listener.inputs):
                        yield from _targets(account, target)


def _targets(account: Account, target: Held) -> Iterator[Held]:
    for attached in account.declared("aws:autoscaling/attachment:Attachment"):
        if attached.at("lbTargetGroupArn") == target.id:
            yield attached
    for service in account.declared(SERVICE):
        if service.at("spec.ports.nodePort") == target.at("port") and aws.region(target) in cluster(service):
            yield service
            yield from workloads(account, service)


RULES = (
    need(
        "aws-nat-has-its-route",
        "docstring of ec2.NatGateway in pulumi-aws 7.51.1: the internet gateway before it; read 2026-12-01",
        out_of_nat,
        "NotAvailable: the NAT gateway has no way out",
    ),
    need(
        "aws-nodes-have-a-way-out",
        "NodeCreationFailure, Amazon EKS user guide, Troubleshooting; unresolved: from memory",
        out_of_nodes,
        "NodeCreationFailure: Instances failed to join the kubernetes cluster",
    ),
    need(
        "aws-nodes-have-their-network",
        "terraform-aws-modules/terraform-aws-eks#3446: nodes without vpc-cni do not join; read 2026-12-01",
        on_every_node,
        "NodeCreationFailure: Unhealthy nodes in the kubernetes cluster",
    ),
    need(
        "aws-addon-has-nodes",
        "terraform-aws-modules/terraform-aws-eks#3001: coredns is degraded without a node; read 2026-12-01",
        below_an_addon,
        "DEGRADED: InsufficientNumberOfReplicas",
    ),
    need(
        "aws-network-has-its-role",
        "Amazon EKS user guide, Configure the VPC CNI plugin to use its own role; unresolved: from memory",
        of_the_network,
        "the network's pods start without credentials",
    ),
    need(
        "aws-log-group-comes-first",
        "EKS makes the group by itself: terraform-aws-modules/terraform-aws-eks#2486; read 2026-12-01",
        logs,
        "ResourceAlreadyExistsException: EKS makes the log group by itself",
    ),
    need(
        "aws-caller-reaches-the-cluster",
        "Amazon EKS user guide, Grant IAM users access with EKS access entries; unresolved: from memory",
        reached,
        "Unauthorized, or no way to the endpoint",
    ),
    need(
        "aws-access-changes-once-at-a-time",
        "hashicorp/terraform-provider-aws#7628; read 2026-12-01",
        of_the_bucket(BUCKET_POLICY, CLOSED, OWNED),
        "OperationAborted: A conflicting conditional operation is currently in progress against this resource",
    ),
    need(
        "aws-versions-before-their-rules",
        "docstring of s3.BucketLifecycleConfiguration in pulumi-aws 7.51.1: versioning first; read 2026-12-01",
        of_the_bucket(LIFECYCLE, VERSIONS),
        "rules for old versions without versions",
    ),
    need(
        "aws-bucket-is-guarded-before-its-grants",
        "of this rehearsal: S3 accepts, and what is written earlier has another key, or came without TLS",
        guards,
        "somebody may write into a bucket without its guards",
    ),
    need(
        "aws-endpoint-answers",
        "of this rehearsal: Global Accelerator accepts, and sends clients to a region that does not answer",
        answers,
        "the endpoint does not answer",
    ),
)
