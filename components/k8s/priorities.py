"""Priority classes: which pods Kubernetes schedules first, preempts, and evicts last when a node runs out of disk or
memory."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from components.k8s import pods

CLASSES = (
    (pods.REQUESTS, 1_000_000, "Gateways and replicas, which answer requests."),
    (pods.WORK, 1_000, "Training, publishing and copying, which can start again."),
)
"""Name, value and description. Both are above 0, the value of a pod without a class, and below the classes that
Kubernetes keeps for system agents, which begin at 2,000,000,000."""


class K8sPriorities(pulumi.ComponentResource):
    """The priority classes of a cluster. The API server refuses a pod whose class does not exist."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:K8sPriorities", name, {}, opts)
        self.classes = [
            k8s.scheduling.v1.PriorityClass(
                f"{name}-{title}",
                metadata={"name": title},
                value=value,
                description=description,
                opts=ResourceOptions(parent=self),
            )
            for title, value, description in CLASSES
        ]
        self.register_outputs({"names": [title for title, _, _ in CLASSES]})
