"""The rendezvous of a training run: where its launchers find each other, on a node that stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, ResourceOptions

from components.k8s import pods

COMPONENT = "rendezvous"
PORT = 29400
POD_IP = "POD_IP"
"""Variable with the pod's own address."""
ADDRESS = {"name": POD_IP, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
RESOURCES = {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
"""The process is Python with torch: 300 MiB of its own and 240 MiB of mapped files with torch 2.15, measured
2026-12-01."""


class K8sRendezvous(pulumi.ComponentResource):
    """A store for the launchers of one run: a Deployment of one pod on the system nodes, and its Service.

    It holds no data of the run. When its pod is lost or moved, every launcher ends with a code that does not count,
    starts again and continues from the last checkpoint. The store stays after the run has ended, as long as the stack
    declares the run: it takes 50m CPU and 512Mi.
    """

    def __init__(
        self,
        name: str,
        run: str,
        *,
        namespace: Input[str],
        image: str,
        workers: Mapping[str, str],
        pull_secrets: Sequence[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        """Make the store of one run.

        Args:
            name: of the resource.
            run: name of the run.
            namespace: of the run.
            image: of the training workload.
            workers: labels of the run's pods.
            pull_secrets: names of the Secrets that the image is pulled with.
            opts: parent.
        """
        super().__init__("skerry:index:K8sRendezvous", name, {}, opts)
        title = f"{COMPONENT}-{run}"
        self.chosen = pods.selector(COMPONENT, title)
        """Labels of the store's pod."""
        self.ports = [{"protocol": "TCP", "port": PORT}]
        self.endpoint = f"{title}:{PORT}"
        """What launchers in the same namespace give as --rdzv-endpoint."""
        child = ResourceOptions(parent=self)
        metadata = pods.plain({"name": title, "namespace": namespace})
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=pods.policy(
                self.chosen,
                ingress=[{"from": [{"podSelector": {"matchLabels": dict(workers)}}], "ports": self.ports}],
            ),
            opts=child,
        )
        self.account = k8s.core.v1.ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            image_pull_secrets=pods.named(pull_secrets),
            opts=child,
        )
        self.service = k8s.core.v1.Service(
            f"{name}-service",
            metadata=pods.plain({**metadata, "annotations": pods.NO_AWAIT}),
            spec=pods.plain({"selector": self.chosen, "ports": self.ports}),
            opts=child,
        )
        main = pods.container(
            COMPONENT,
            image,
            [
                *("python", "-m", "workloads.training.rendezvous"),
                *("--address", f"$({POD_IP})"),
                *("--port", str(PORT)),
            ],
            RESOURCES,
            env=[ADDRESS],
            readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 2},
        )
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata=pods.plain({**metadata, "labels": self.chosen, "annotations": pods.NO_AWAIT}),
            spec=pods.plain(
                {
                    "replicas": 1,
                    "selector": {"matchLabels": self.chosen},
                    # Two stores behind one Service would split a run in two.
                    "strategy": {"type": "Recreate"},
                    "template": {
                        "metadata": {"labels": pods.labels(COMPONENT, title), "annotations": pods.KEEP},
                        "spec": pods.pod(
                            main,
                            title,
                            # Not as the run's own pods: ending it restarts all of them.
                            pods.REQUESTS,
                            terminationGracePeriodSeconds=5,
                        ),
                    },
                }
            ),
            opts=ResourceOptions(parent=self, depends_on=[self.policy, self.account]),
        )
        self.register_outputs({"endpoint": self.endpoint})
