"""A model version on a cluster: a Job that publishes it, and a Job that copies it to another region's tier."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi import Input, Output, ResourceOptions

from components.contracts import ModelVersion, TrainingRun
from components.k8s import pods
from components.k8s.identity import K8sIdentity
from components.k8s.training_job import NO_AWAIT
from components.naming import physical_name, short_version
from components.settings.items import ModelSettings

COMPONENT = "publishing"
RETRIES = 20
"""A version of a training run is tried again until the run's export is there: the pauses grow to six minutes, so for
some two hours (Kubernetes' back-off of Jobs)."""
RESOURCES = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}
NAME_LIMIT = 50


class K8sTransferJob(pulumi.ComponentResource):
    """A Job that writes one folder of a tier. Its name holds the digest of what it does, since a Job cannot change."""

    def __init__(
        self,
        name: str,
        title: str,
        *,
        namespace: Input[str],
        image: str,
        identity: K8sIdentity,
        command: list[Input[str]],
        key: Output[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:K8sTransferJob", name, {}, opts)
        job = key.apply(lambda digest: physical_name(title, digest, limit=NAME_LIMIT))
        chosen = pods.selector(COMPONENT, title)
        self.policy = k8s.networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata={"name": title, "namespace": namespace},
            spec=pods.policy(chosen, egress=pods.reach(identity.egress)),
            opts=ResourceOptions(parent=self),
        )
        environment = {"HF_HUB_OFFLINE": "1"}
        main = pods.container(COMPONENT, image, command, RESOURCES, environment=environment)
        self.job = k8s.batch.v1.Job(
            f"{name}-job",
            metadata={"name": job, "namespace": namespace, "labels": chosen, "annotations": NO_AWAIT},
            spec=pods.plain(
                {
                    "backoffLimit": RETRIES,
                    "template": {
                        "metadata": {"labels": pods.labels(COMPONENT, title)},
                        "spec": pods.pod(main, identity.name, restartPolicy="Never"),
                    },
                }
            ),
            opts=ResourceOptions(parent=self, depends_on=[self.policy], replace_on_changes=["spec"]),
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
            key=key,
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
            key=key,
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"uri": self.uri})


def _key(origin: str, scheme: str, image: str) -> str:
    """First 12 digits of the SHA-256 of all that a version depends on; the image stands for the publishing code."""
    content: dict[str, Any] = {"origin": origin, "scheme": scheme, "image": image}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
