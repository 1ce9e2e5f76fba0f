"""A training run on a cluster: one indexed Job whose workers meet at a store beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.contracts import Placement, TrainingRun
from components.k8s import disks, jobs, pods
from components.k8s.identity import K8sIdentity
from components.k8s.rendezvous import ADDRESS, POD_IP, K8sRendezvous
from components.settings.items import TrainingSettings

COMPONENT = "training"
RESTARTS = 3
"""How often torchrun starts its workers again after one has failed, and how often a pod is replaced after its launcher
has failed. The lowest numbers that survive a bad machine and a chance fault; a fault of the program ends the run after
16 tries on each node."""
MIN_NODES = 1
"""Nodes with which a run goes on. The batch is the same with fewer, so the result is too; it takes longer."""
JOIN_SECONDS = 7200
"""How long a launcher waits for MIN_NODES: an autoscaler may take 15 minutes for each of three rungs (its default
--max-node-provision-time; kubernetes/autoscaler, cluster-autoscaler/FAQ.md, read 2026-12-01), and more than one try."""
READ_SECONDS = 300
"""How long a launcher waits for the store: until its pod has an image and is ready on a node that is there."""
LAST_CALL_SECONDS = 60
"""How long launchers that could begin wait for more: nodes of one scale-up arrive close together."""
GRACE_SECONDS = 120
"""How long a pod may take to stop where no capacity of its pool is taken away sooner."""
MARGIN_SECONDS = 5
"""What of it a launcher leaves itself to end its workers and report their exit code."""
JOB, JOB_LABEL = "JOB_UID", "batch.kubernetes.io/controller-uid"
"""Variable with the UID of the pod's Job, by the label that Kubernetes gives the pod. A Job that is made again meets
anew: a rendezvous that has ended well takes nobody in."""
UNUSABLE, STOPPED = [2], [69, 75, 143]
"""Exit codes of the launcher: a setting cannot be used; it met nobody or lost the store, or was asked to stop, and can
go on (workloads/training/torchrun.py)."""
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
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}
"""An error that another try cannot fix ends the run. Waiting for nodes and losing one do not count as failures."""
SUCCESS_POLICY = {"rules": [{"succeededCount": 1}]}
"""A launcher ends with 0 only when the model is published. A pod that comes later has nothing left to do."""
STORE_ELSEWHERE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""The workers of a round meet at their own first one. Otherwise they would use the launchers' store."""
METRICS = ("--metrics-port", str(pods.METRICS_PORT), "--metrics-address", "0.0.0.0")
"""Rank 0 has the numbers of the whole run. It may be in any pod of the run, and the others refuse the connection."""
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
        pull_secrets: Sequence[str],
        scrapers: Sequence[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sTrainingJob", name, {}, opts)
        digest = digest_of(run, image)
        title = f"train-{run.name}"
        chosen = pods.selector(COMPONENT, title)
        uri = Output.concat(warm, f"/training/{run.name}/{digest[:12]}")
        child = ResourceOptions(parent=self)
        self.rendezvous = K8sRendezvous(
            f"{name}-rendezvous",
            run.name,
            namespace=namespace,
            image=image,
            workers=chosen,
            pull_secrets=pull_secrets,
            opts=child,
        )
        to_store = {
            "to": [{"podSelector": {"matchLabels": self.rendezvous.chosen}}],
            "ports": self.rendezvous.ports,
        }
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": title, "namespace": namespace},
            spec=pods.policy(
                chosen,
                ingress=[
                    {"from": [{"podSelector": {"matchLabels": chosen}}]},
                    *pods.scraping(scrapers, pods.METRICS_PORT),
                ],
                egress=[
                    {"to": [{"podSelector": {"matchLabels": chosen}}]},
                    to_store,
                    *pods.reach(identity.egress),
                ],
            ),
            opts=child,
        )
        main = pods.container(
            COMPONENT,
            image,
            [
                *_torchrun(run, placement, digest, uri, self.rendezvous.endpoint),
                *(METRICS if scrapers else ()),
            ],
            pods.whole_node(placement, cpu="1", memory="4Gi"),
            environment=STORE_ELSEWHERE,
            env=[
                {"name": JOB, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{JOB_LABEL}']"}}},
                ADDRESS,
            ],
            volumeMounts=[{"name": "shared-memory", "mountPath": SHARED_MEMORY}],
        )
        template = pods.pod(
            main,
            identity.name,
            pods.WORK,
            disks.whole(placement),
            restartPolicy="Never",
            terminationGracePeriodSeconds=grace_seconds(placement),
            volumes=[{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
            **pods.placed(placement),
        )
        self.job = jobs.job(
            name,
            COMPONENT,
            title,
            template,
            namespace=namespace,
            opts=ResourceOptions(parent=self, depends_on=[self.rendezvous, self.policy, *identity.effective]),
            attempt=run.attempt,
            scraped=pods.scraped(scrapers, pods.METRICS_PORT, pods.METRICS_PATH),
            completionMode="Indexed",
            completions=run.workers,
            parallelism=run.workers,
            # For each worker: one bad node must not use up what the others have.
            backoffLimitPerIndex=RESTARTS,
            podFailurePolicy=FAILURE_POLICY,
            successPolicy=SUCCESS_POLICY,
        )
        declared: Mapping[str, object] = {"steps": run.steps, "seed": run.seed, "workers": run.workers}
        self.run = TrainingRun(
            run.name,
            # Not an output of the Job: a Job that is replaced would take along whatever names the folder.
            uri,
            Output.from_input(digest),
            Output.from_input(declared),
        )
        self.register_outputs({"uri": uri, "digest": digest})


def grace_seconds(placement: Placement) -> int:
    """How long a pod of a pool may take to stop: the shortest notice that one of its rungs gives."""
    notices = [rung.notice_seconds for rung in placement.rungs if rung.notice_seconds is not None]
    return min([GRACE_SECONDS, *notices])


def _torchrun(
    run: TrainingSettings, placement: Placement, digest: str, uri: Output[str], endpoint: str
) -> list[Input[str]]:
    times = {
        "join_timeout": JOIN_SECONDS,
        "read_timeout": READ_SECONDS,
        "last_call_timeout": LAST_CALL_SECONDS,
    }
    return [
        *("python", "-m", "workloads.training.torchrun"),
        *("--nnodes", f"{MIN_NODES}:{run.workers}"),
        *("--nproc-per-node", str(max(1, placement.accelerators))),
        *("--rdzv-backend", "c10d"),
        *("--rdzv-id", f"$({JOB})"),
        *("--rdzv-endpoint", endpoint),
        *("--rdzv-conf", ",".join(["is_host=false", *(f"{name}={value}" for name, value in times.items())])),
        *("--local-addr", f"$({POD_IP})"),
        *("--max-restarts", str(RESTARTS)),
        *("--shutdown-timeout", str(grace_seconds(placement) - MARGIN_SECONDS)),
        *("-m", "workloads.training.train"),
        # The run is the same one over its Jobs, so that a new one takes over the lease on the checkpoints.
        *("--run-id", digest[:12]),
        *("--output", uri),
        *("--checkpoints", Output.concat(uri, "-checkpoints")),
        *("--steps", str(run.steps)),
        *("--seed", str(run.seed)),
    ]
