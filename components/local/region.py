"""A region of this machine: what the assembly asks of a region, made of processes and folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
from pulumi import ResourceOptions

from components.contracts import ModelVersion, RegionEndpoint, Service, TrainingRun
from components.local.inference_service import LocalInferenceService
from components.local.layout import region_port, service_port
from components.local.load_balancer import LocalRegionEndpoint
from components.local.model_version import LocalModelCopy, LocalModelVersion, content_of
from components.local.node_pool import LocalNodePool
from components.local.settings import LocalTarget
from components.local.storage import LocalTieredStorage
from components.local.training_job import LocalTrainingJob
from components.settings.items import (
    EndpointSettings,
    ModelSettings,
    PoolSettings,
    ServiceSettings,
    TrainingSettings,
)


class LocalRegionArgs(TypedDict):
    """Args of `LocalRegion`."""

    index: int
    """Place of the region in the stack file, from 0: its ports follow from it."""
    target: LocalTarget
    """The target's settings."""
    endpoint: EndpointSettings
    """How endpoints behave."""
    labels: Mapping[str, str]
    """Labels of the stack."""


class LocalRegion(pulumi.ComponentResource):
    """One of several regions on one machine, with a supervisor, tiers and an Envoy of its own."""

    def __init__(
        self,
        name: str,
        args: LocalRegionArgs,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalRegion", name, {}, opts)
        self.name = name
        self.storage = LocalTieredStorage(
            f"{name}-tiers", {"region": name, "labels": args["labels"]}, self._child()
        )
        self.tiers = self.storage.tiers
        self.pools: dict[str, LocalNodePool] = {}
        self._index = args["index"]
        self._target = args["target"]
        self._endpoint = args["endpoint"]
        self._served = 0
        self._held: dict[str, pulumi.Output[str]] = {}
        self.register_outputs({"hot": self.tiers.hot, "warm": self.tiers.warm, "cold": self.tiers.cold})

    def pool(self, pool: PoolSettings) -> None:
        self.pools[pool.name] = LocalNodePool(
            f"{self.name}-{pool.name}",
            {
                "region": self.name,
                "pool": pool.name,
                "max_nodes": pool.max_nodes,
                "threads_per_node": self._target.threads_per_node,
            },
            self._child(),
        )

    def train(self, run: TrainingSettings) -> TrainingRun:
        pool = self.pools[run.pool]
        pool.budget.take(run.workers, f"training {run.name!r}")
        job = LocalTrainingJob(
            run.name,
            {
                "workers": run.workers,
                "threads": pool.threads,
                "steps": run.steps,
                "seed": run.seed,
                "attempt": run.attempt,
                "output_parent": pulumi.Output.concat(self.tiers.warm, "/training/", run.name),
            },
            self._child(),
        )
        return job.run

    def publish(self, model: ModelSettings, run: TrainingRun | None) -> ModelVersion:
        made = LocalModelVersion(
            model.name,
            {
                "source": run.uri if run else model.source,
                "source_digest": run.digest if run else model.source,
                "source_files": content_of(model.source),
                "scheme": model.scheme.value,
                "disk_gib": model.disk_gib,
                "output_parent": self._models(model.name),
            },
            self._child(),
        )
        self._held[model.name] = made.version.uri
        return made.version

    def serve(self, service: ServiceSettings, version: ModelVersion, after: Service | None = None) -> Service:
        pool = self.pools[service.pool]
        pool.budget.take(service.replicas, f"service {service.name!r}")
        made = LocalInferenceService(
            f"{self.name}-{service.name}",
            {
                "region": self.name,
                "service": service.name,
                "model_uri": self._hold(version),
                "digest": version.digest,
                "replicas": service.replicas,
                "threads": pool.threads,
                "port": service_port(self._target.port, self._index, self._served),
                "limits": service.limits,
                "ready_seconds": self._target.ready_seconds,
                "drain_seconds": self._endpoint.drain,
            },
            self._child(_standing(after) if after else None),
        )
        self._served += 1
        return Service(service.name, service.replicas, made.address)

    def expose(self, services: Sequence[Service], endpoint: EndpointSettings) -> RegionEndpoint:
        port = region_port(self._target.port, self._index)
        made = LocalRegionEndpoint(
            f"{self.name}-endpoint",
            {
                "region": self.name,
                "port": port,
                "ready_seconds": self._target.ready_seconds,
                "services": {service.name: service.address for service in services},
            },
            endpoint,
            self._child(),
        )
        handle = json.dumps({"port": port})
        return RegionEndpoint(made.url, made.url.apply(lambda _: handle))

    def _hold(self, version: ModelVersion) -> pulumi.Output[str]:
        """Where this region holds a version: where it was published, or a copy of its own, made once."""
        if version.name not in self._held:
            copy = LocalModelCopy(
                f"{self.name}-{version.name}-copy",
                {
                    "source": version.uri,
                    "digest": version.digest,
                    "output_parent": self._models(version.name),
                },
                self._child(),
            )
            self._held[version.name] = copy.uri
        return self._held[version.name]

    def _models(self, name: str) -> pulumi.Output[str]:
        return pulumi.Output.concat(self.tiers.hot, "/models/", name)

    def _child(self, depends_on: pulumi.Output[list[pulumi.Resource]] | None = None) -> ResourceOptions:
        return ResourceOptions(parent=self, depends_on=depends_on)


def _standing(service: Service) -> pulumi.Output[list[pulumi.Resource]]:
    """Depends on what the service's address depends on: its replicas, whichever region they are in."""
    return service.address.apply(lambda _: list[pulumi.Resource]())
