"""Waits until the grants of a service account are effective, by using them from a pod of that account."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pulumi
import pulumi_kubernetes as k8s
from pulumi import CustomTimeouts, Input, Output, ResourceOptions

from components.contracts import Egress, Grant
from components.k8s import jobs, pods

COMPONENT = "access-check"
DEADLINE_SECONDS = 1800
"""How long a grant may take. IAM of Google Cloud: "typically 2 minutes, potentially 7 or longer" (its page "Access
change propagation", read 2026-12-01); EKS: "several seconds" (API page of CreatePodIdentityAssociation, same day). The
rest is for the pull of the image and for nodes."""
TRIES = 20
"""More than fit into the deadline: the Job controller doubles the time between tries up to six minutes (Kubernetes
documentation, "Jobs", pod backoff failure policy, read 2026-12-01)."""
RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
REPLACE_FAILED = {"pulumi.com/replaceUnready": "true"}
"""The next `up` replaces a Job that failed; otherwise it would find the same failure (pulumi-kubernetes, page of Job,
read 2026-12-01)."""


class K8sAccessCheck(pulumi.ComponentResource):
    """A Job on the system nodes that ends well when its service account can use every granted folder. `up` waits for
    it. Every try is a new pod, since EKS gives a pod its credentials only when the pod is created."""

    def __init__(
        self,
        name: str,
        account: str,
        *,
        namespace: Input[str],
        image: str,
        granted: Output[str],
        grants: Sequence[Grant],
        egress: Sequence[Egress],
        opts: ResourceOptions | None = None,
    ) -> None:
        """Check one service account.

        Args:
            name: of the resource.
            account: name of the service account.
            namespace: of the service account.
            image: of a workload that has the account, which pulls it anyway.
            granted: the account's name, known when the grants exist.
            grants: folders, and what may be done with them.
            egress: where credentials and the tiers answer.
            opts: parent, and what must be there before.
        """
        super().__init__("skerry:index:K8sAccessCheck", name, {}, opts)
        title = f"access-{account}"
        chosen = pods.selector(COMPONENT, title)
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": title, "namespace": namespace},
            spec=pods.policy(chosen, egress=pods.reach(egress)),
            opts=ResourceOptions(parent=self),
        )
        words = ((f"--{grant.access.value}", grant.uri) for grant in grants)
        command = ["python", "-m", "workloads.check_access", *chain.from_iterable(words)]
        main = pods.container(COMPONENT, image, command, RESOURCES)
        self.job = jobs.job(
            name,
            COMPONENT,
            title,
            pods.pod(main, granted, pods.WORK, restartPolicy="Never"),
            namespace=namespace,
            annotations=REPLACE_FAILED,
            opts=ResourceOptions(
                parent=self,
                depends_on=[self.policy],
                custom_timeouts=CustomTimeouts(create=f"{DEADLINE_SECONDS + pods.UP_MARGIN_SECONDS}s"),
            ),
            backoffLimit=TRIES,
            activeDeadlineSeconds=DEADLINE_SECONDS,
        )
        self.register_outputs({})
