"""A model version on a cluster: a Job that publishes it, and a Job that copies it to another region's tier."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.contracts import ModelVersion, Placement, TrainingRun
from components.k8s import jobs, pods
from components.k8s.disks import PodDisk
from components.k8s.identity import K8sIdentity
from components.naming import short_version
from components.settings.items import ModelSettings

COMPONENT = "publishing"
RETRIES, DEADLINE_SECONDS = 4000, 14 * 24 * 3600
"""A version of a training run is tried again until the run's export is there: every five minutes at last (the kubelet's
back-off), and for two weeks at most."""
RESOURCES = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}


class K8sTransferJob(pulumi.ComponentResource):
    """A Job that writes one folder of a tier, on a node of a pool or on a system node."""

    def __init__(
        self,
        name: str,
        title: str,
        *,
        namespace: Input[str],
        image: str,
        identity: K8sIdentity,
        command: list[Input[str]],
        disk_gib: int,
        placement: Placement | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sTransferJob", name, {}, opts)
        chosen = pods.selector(COMPONENT, title)
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": title, "namespace": namespace},
            spec=pods.policy(chosen, egress=pods.reach(identity.egress)),
            opts=ResourceOptions(parent=self),
        )
        environment = {"HF_HUB_OFFLINE": "1"}
        resources = pods.whole_node(placement, cpu="1", memory="4Gi") if placement else RESOURCES
        main = pods.container(COMPONENT, image, command, resources, environment=environment)
        self.job = jobs.job(
            name,
            COMPONENT,
            title,
            pods.pod(
                main,
                identity.name,
                pods.WORK,
                PodDisk(disk_gib, alone=placement is not None),
                restartPolicy="OnFailure",
                **(pods.placed(placement) if placement else {}),
            ),
            namespace=namespace,
            opts=ResourceOptions(parent=self, depends_on=[self.policy, *identity.effective]),
            backoffLimit=RETRIES,
            activeDeadlineSeconds=DEADLINE_SECONDS,
        )
        self.register_outputs({})


class K8sModelVersion(pulumi.ComponentResource):
    """The serving workload's `publish`, once for a source, a scheme and an image. `up` does not wait for it: what may
    be served is the digest that the stack file pins."""

    def __init__(
        self,
        name: str,
        model: ModelSettings,
        run: TrainingRun | None,
        *,
        namespace: Input[str],
        image: str,
        identity: K8sIdentity,
        hot: Output[str],
        placement: Placement | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sModelVersion", name, {}, opts)
        source = run.uri if run else Output.from_input(model.source)
        origin = run.digest if run else Output.from_input(model.source)
        key = origin.apply(lambda given: _key(given, model.scheme.value, image))
        uri = Output.concat(hot, f"/models/{model.name}/", key)
        self.transfer = K8sTransferJob(
            f"{name}-publish",
            f"publish-{model.name}",
            namespace=namespace,
            image=image,
            identity=identity,
            command=[
                *("python", "-m", "workloads.serving.publish"),
                *("--source", source),
                *("--scheme", model.scheme.value),
                *("--output", uri),
            ],
            disk_gib=model.disk_gib,
            placement=placement,
            opts=ResourceOptions(parent=self),
        )
        digest = model.digest or ""
        self.version = ModelVersion(
            name=model.name,
            version=Output.from_input(short_version(digest)),
            scheme=model.scheme.value,
            uri=uri,
            digest=Output.from_input(digest),
            facts=Output.from_input({}),
            disk_gib=model.disk_gib,
        )
        self.register_outputs({"uri": uri, "digest": digest})


class K8sModelCopy(pulumi.ComponentResource):
    """A version in another region's tier, under the same name there."""

    def __init__(
        self,
        name: str,
        version: ModelVersion,
        *,
        namespace: Input[str],
        image: str,
        identity: K8sIdentity,
        hot: Output[str],
        placement: Placement | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sModelCopy", name, {}, opts)
        key = version.uri.apply(lambda uri: uri.rpartition("/")[2])
        self.uri = Output.concat(hot, f"/models/{version.name}/", key)
        self.transfer = K8sTransferJob(
            f"{name}-copy",
            f"copy-{version.name}",
            namespace=namespace,
            image=image,
            identity=identity,
            command=[
                *("python", "-m", "workloads.transfer"),
                *("--source", version.uri),
                *("--output", self.uri),
            ],
            disk_gib=version.disk_gib,
            placement=placement,
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"uri": self.uri})


def _key(origin: str, scheme: str, image: str) -> str:
    """First 12 digits of the SHA-256 of all that a version depends on; the image stands for the publishing code."""
    content: dict[str, Any] = {"origin": origin, "scheme": scheme, "image": image}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
