"""The cluster autoscaler: node groups of EKS do not come up from zero by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import yaml
from pulumi import Input, Output, ResourceOptions

from components.aws.identity import AwsPodRole, association_delay
from components.aws.ladder import priorities
from components.aws.policies import Statement, document
from components.k8s import pods

NAME, NAMESPACE = "cluster-autoscaler", "kube-system"
PRIORITIES, STATUS = f"{NAME}-priority-expander", f"{NAME}-status"
"""ConfigMaps that it reads and writes; the names are its own."""
TAG = "k8s.io/cluster-autoscaler"
"""EKS tags the groups of its managed node groups for discovery (EKS User Guide, "Managed node groups", read
2026-11-24). Discovery looks for TAG/enabled and TAG/CLUSTER with any value (kubernetes/autoscaler, README of its AWS
provider, same day). That EKS gives the second the value `owned` is unresolved: from memory, not looked up; an old
edition of the guide asks for it on groups tagged by hand (awsdocs/amazon-eks-user-guide, cluster-autoscaler.md, same
day)."""
HEALTH_PORT = 8085
"""Where it answers health checks and tells metrics."""
LISTS = (
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeLaunchConfigurations",
    "autoscaling:DescribeScalingActivities",
    "autoscaling:DescribeTags",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:GetInstanceTypesFromInstanceRequirements",
)
SCALES = ("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup")
"""What it asks of AWS (kubernetes/autoscaler at 55c37cd, README of its AWS provider, "Full Cluster Autoscaler Features
Policy", read 2026-11-24; DescribeTags comes from an older README). Labels and taints of a group that never had nodes it
learns from eks:DescribeNodegroup."""

LOOK = ("get", "list", "watch")
RULES: Sequence[tuple[str, Sequence[str], Sequence[str]]] = (
    ("", ("events", "endpoints"), ("create", "patch")),
    ("", ("pods/eviction",), ("create",)),
    ("", ("pods/status",), ("update",)),
    ("", ("nodes",), (*LOOK, "update")),
    ("", ("namespaces", "pods", "services", "replicationcontrollers"), LOOK),
    ("", ("persistentvolumeclaims", "persistentvolumes"), LOOK),
    ("apps", ("daemonsets", "replicasets", "statefulsets"), LOOK),
    ("batch", ("jobs", "cronjobs"), LOOK),
    ("policy", ("poddisruptionbudgets",), LOOK),
    (
        "storage.k8s.io",
        ("storageclasses", "csinodes", "csidrivers", "csistoragecapacities", "volumeattachments"),
        LOOK,
    ),
    ("resource.k8s.io", ("deviceclasses", "resourceslices", "resourceclaims"), LOOK),
    ("coordination.k8s.io", ("leases",), ("create",)),
)
"""API group, resources, verbs: what it does in the whole cluster (kubernetes/autoscaler at 55c37cd, its AWS provider's
examples/cluster-autoscaler-autodiscover.yaml, read 2026-11-24). CronJobs come from its Helm chart's clusterrole.yaml,
same day."""


def rights_on_aws(region: str, account: str, cluster: str) -> str:
    """The autoscaler's policy: it changes the size of one cluster's groups, and of nothing else."""
    owned = {"StringEquals": {f"aws:ResourceTag/{TAG}/{cluster}": "owned"}}
    groups = f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/eks-*"
    return document(
        Statement(LISTS, ("*",), reason="ReadsListsOnly"),
        Statement(("eks:DescribeNodegroup",), (f"arn:aws:eks:{region}:{account}:nodegroup/{cluster}/*",)),
        Statement(SCALES, (groups,), conditions=owned, reason="TaggedByTheCluster"),
    )


def command(cluster: Input[str]) -> list[Input[str]]:
    """Its command line. Pods of ours have a scratch folder each and may be moved all the same; the cluster's own are
    moved where a budget of theirs lets it."""
    return [
        "./cluster-autoscaler",
        "--cloud-provider=aws",
        f"--namespace={NAMESPACE}",
        Output.concat(f"--node-group-auto-discovery=asg:tag={TAG}/enabled,{TAG}/", cluster),
        "--expander=priority,least-waste",
        "--skip-nodes-with-local-storage=false",
        "--skip-nodes-with-system-pods=false",
        f"--address=:{HEALTH_PORT}",
        f"--status-config-map-name={STATUS}",
    ]


class AwsAutoscalerArgs(TypedDict):
    """Args of `AwsAutoscaler`."""

    account: str
    """Account of the node groups."""
    region: str
    """Their region."""
    cluster: Input[str]
    """Name of the cluster, known when it stands."""
    cluster_arn: Input[str]
    """Its ARN."""
    image: str
    """Pinned by digest."""
    pull_secrets: Sequence[str]
    """Names of the Secrets of kube-system with which it is pulled."""


class AwsAutoscaler(pulumi.ComponentResource):
    """One replica, on the system nodes. It alone talks to the API server and to Auto Scaling from kube-system."""

    def __init__(self, name: str, args: AwsAutoscalerArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsAutoscaler", name, {}, opts)
        child = ResourceOptions(parent=self)
        self.pods = AwsPodRole(
            name,
            {
                "cluster": args["cluster"],
                "cluster_arn": args["cluster_arn"],
                "namespace": NAMESPACE,
                "account": NAME,
            },
            child,
        )
        self.policy = aws.iam.RolePolicy(
            name,
            role=self.pods.role.id,
            policy=Output.from_input(args["cluster"]).apply(
                lambda cluster: rights_on_aws(args["region"], args["account"], cluster)
            ),
            opts=child,
        )
        effective = association_delay(name, self.pods)
        self.account = kubernetes.core.v1.ServiceAccount(
            name,
            metadata={"name": NAME, "namespace": NAMESPACE},
            automount_service_account_token=False,
            image_pull_secrets=pods.named(args["pull_secrets"]),
            opts=child,
        )
        bindings = self._rights(name)
        self.priorities = kubernetes.core.v1.ConfigMap(
            name,
            metadata={"name": PRIORITIES, "namespace": NAMESPACE},
            data={"priorities": yaml.safe_dump(priorities())},
            opts=child,
        )
        chosen = pods.selector(NAME, "cluster")
        self.deployment = kubernetes.apps.v1.Deployment(
            name,
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": chosen},
            spec=pods.plain(
                {
                    "replicas": 1,
                    "selector": {"matchLabels": chosen},
                    # Two at a time would only wait for the same lease.
                    "strategy": {"type": "Recreate"},
                    "template": {
                        "metadata": {"labels": pods.labels(NAME, "cluster")},
                        "spec": _pod(args),
                    },
                }
            ),
            # Credentials come with a pod's start: one that is there before its role never gets them.
            opts=ResourceOptions(
                parent=self,
                depends_on=[self.account, self.priorities, self.policy, effective, *bindings],
            ),
        )
        self.register_outputs({"name": NAME})

    def _rights(self, name: str) -> list[pulumi.Resource]:
        """What it may do in the cluster, and with its own lease and ConfigMaps in kube-system."""
        child = ResourceOptions(parent=self)
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
        group = "rbac.authorization.k8s.io"
        maps = {"apiGroups": [""], "resources": ["configmaps"]}
        lease = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [NAME]}
        own: pods.Json = [
            {**maps, "verbs": ["create", "list", "watch"]},
            {**maps, "resourceNames": [STATUS, PRIORITIES], "verbs": ["delete", "get", "update", "watch"]},
            {**lease, "verbs": ["get", "update"]},
        ]
        cluster_role = kubernetes.rbac.v1.ClusterRole(
            name,
            metadata={"name": NAME},
            rules=[
                {"api_groups": [api], "resources": list(resources), "verbs": list(verbs)}
                for api, resources, verbs in RULES
            ],
            opts=child,
        )
        role = kubernetes.rbac.v1.Role(
            name, metadata={"name": NAME, "namespace": NAMESPACE}, rules=own, opts=child
        )
        everywhere = kubernetes.rbac.v1.ClusterRoleBinding(
            name,
            metadata={"name": NAME},
            role_ref={"api_group": group, "kind": "ClusterRole", "name": NAME},
            subjects=[pods.plain(subject)],
            opts=ResourceOptions(parent=self, depends_on=[cluster_role]),
        )
        here = kubernetes.rbac.v1.RoleBinding(
            name,
            metadata={"name": NAME, "namespace": NAMESPACE},
            role_ref={"api_group": group, "kind": "Role", "name": NAME},
            subjects=[pods.plain(subject)],
            opts=ResourceOptions(parent=self, depends_on=[role]),
        )
        return [everywhere, here]


def _pod(args: AwsAutoscalerArgs) -> Any:
    main = pods.container(
        NAME,
        args["image"],
        command(args["cluster"]),
        {"requests": {"cpu": "100m", "memory": "600Mi"}, "limits": {"memory": "600Mi"}},
        ports=[{"name": "health", "containerPort": HEALTH_PORT}],
        livenessProbe={"httpGet": {"path": "/health-check", "port": "health"}, "periodSeconds": 10},
    )
    return pods.pod(main, NAME, pods.SYSTEM, automountServiceAccountToken=True)
