"""A training run on a cluster: one indexed Job whose workers meet by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.contracts import Placement, TrainingRun
from components.k8s import jobs, pods
from components.k8s.identity import K8sIdentity
from components.settings.items import TrainingSettings

COMPONENT = "training"
RENDEZVOUS_PORT = 29400
RESTARTS = 3
"""How often torchrun starts its workers anew after one has failed."""
GRACE_SECONDS = 120
JOB, JOB_LABEL = "JOB", "batch.kubernetes.io/job-name"
"""Variable that tells a pod what its Job is called, by the label that Kubernetes gives it."""
UNUSABLE, STOPPED = [2], [75, 143]
"""Exit codes of the training: a setting cannot be used; it was asked to stop and can go on."""
FAILURE_POLICY = {
    "rules": [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": COMPONENT, "operator": "In", "values": UNUSABLE},
        },
        {
            "action": "Ignore",
            "onExitCodes": {"containerName": COMPONENT, "operator": "In", "values": STOPPED},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
}
"""What another try cannot mend ends the run; a node that is taken away is not the run's failure."""
SHARED_MEMORY = "/dev/shm"
"""Where processes of a node pass tensors to each other. A container's own has 64 MiB."""


def digest_of(run: TrainingSettings, image: str) -> str:
    """SHA-256 of what the export depends on. The image is pinned, so it stands for the workload's version."""
    content = {"workers": run.workers, "steps": run.steps, "seed": run.seed, "image": image}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class K8sTrainingJob(pulumi.ComponentResource):
    """`workers` pods, a node each, every one of which runs `torchrun` with a process per accelerator."""

    def __init__(
        self,
        name: str,
        run: TrainingSettings,
        *,
        namespace: Input[str],
        image: str,
        placement: Placement,
        identity: K8sIdentity,
        warm: Output[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sTrainingJob", name, {}, opts)
        digest = digest_of(run, image)
        title = f"train-{run.name}"
        chosen = pods.selector(COMPONENT, title)
        uri = Output.concat(warm, f"/training/{run.name}/{digest[:12]}")
        child = ResourceOptions(parent=self)
        self.service = k8s.core.v1.Service(
            f"{name}-service",
            metadata={"name": title, "namespace": namespace, "annotations": pods.NO_AWAIT},
            # Workers look each other up before they are ready.
            spec=pods.plain({"clusterIP": "None", "publishNotReadyAddresses": True, "selector": chosen}),
            opts=child,
        )
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": title, "namespace": namespace},
            spec=pods.policy(
                chosen,
                ingress=[{"from": [{"podSelector": {"matchLabels": chosen}}]}],
                egress=[{"to": [{"podSelector": {"matchLabels": chosen}}]}, *pods.reach(identity.egress)],
            ),
            opts=child,
        )
        main = pods.container(
            COMPONENT,
            image,
            _torchrun(run, placement, digest, uri),
            pods.whole_node(placement, cpu="1", memory="4Gi"),
            env=[{"name": JOB, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{JOB_LABEL}']"}}}],
            volumeMounts=[{"name": "shared-memory", "mountPath": SHARED_MEMORY}],
        )
        template = pods.pod(
            main,
            identity.name,
            pods.WORK,
            restartPolicy="Never",
            subdomain=title,
            # The first pod knows itself by its own host name, so that is what all call it.
            dnsConfig={"searches": [f"{title}.{pods.NAMESPACE}.svc.cluster.local"]},
            terminationGracePeriodSeconds=GRACE_SECONDS,
            volumes=[{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
            **pods.placed(placement),
        )
        self.job = jobs.job(
            name,
            COMPONENT,
            title,
            template,
            namespace=namespace,
            opts=ResourceOptions(parent=self, depends_on=[self.service, self.policy]),
            completionMode="Indexed",
            completions=run.workers,
            parallelism=run.workers,
            backoffLimit=RESTARTS * run.workers,
            podFailurePolicy=FAILURE_POLICY,
        )
        declared: Mapping[str, object] = {"steps": run.steps, "seed": run.seed, "workers": run.workers}
        self.run = TrainingRun(
            run.name,
            self.job.urn.apply(lambda _: uri),
            Output.from_input(digest),
            Output.from_input(declared),
        )
        self.register_outputs({"uri": uri, "digest": digest})


def _torchrun(run: TrainingSettings, placement: Placement, digest: str, uri: Output[str]) -> list[Input[str]]:
    return [
        *("python", "-m", "workloads.training.torchrun"),
        *("--nnodes", str(run.workers)),
        *("--nproc-per-node", str(max(1, placement.accelerators))),
        *("--rdzv-backend", "c10d"),
        *("--rdzv-id", digest[:12]),
        *("--rdzv-endpoint", f"$({JOB})-0:{RENDEZVOUS_PORT}"),
        *("--max-restarts", str(RESTARTS)),
        *("--shutdown-timeout", str(GRACE_SECONDS - 10)),
        *("-m", "workloads.training.train"),
        *("--output", uri),
        *("--checkpoints", Output.concat(uri, "-checkpoints")),
        *("--steps", str(run.steps)),
        *("--seed", str(run.seed)),
    ]
