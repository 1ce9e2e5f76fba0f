"""A region on Kubernetes: what the assembly asks of a region, made of what any cluster has. It asks its `ClusterHost`
for all that differs between clouds, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pulumi
from pulumi import Output, ResourceOptions

from components.budget import Budget
from components.contracts import (
    Access,
    ClusterHost,
    Grant,
    ModelVersion,
    Placement,
    RegionEndpoint,
    Service,
    TrainingRun,
)
from components.k8s.gateway import K8sGateway
from components.k8s.identity import K8sIdentity
from components.k8s.inference_service import K8sInferenceService
from components.k8s.model_version import K8sModelCopy, K8sModelVersion
from components.k8s.namespace import K8sNamespace
from components.k8s.priorities import K8sPriorities
from components.k8s.settings import ClusterTarget
from components.k8s.training_job import K8sTrainingJob
from components.settings.items import (
    BUCKETS,
    EndpointSettings,
    ModelSettings,
    PoolSettings,
    ServiceSettings,
    TrainingSettings,
)


class K8sRegionArgs(TypedDict):
    """Args of `K8sRegion`."""

    host: ClusterHost
    """The cluster below."""
    target: ClusterTarget
    """What the pods run, and who may scrape them."""
    endpoint: EndpointSettings
    """How endpoints behave."""
    labels: Mapping[str, str]
    """Labels of the stack."""


class K8sRegion(pulumi.ComponentResource):
    """One region on one cluster."""

    def __init__(self, name: str, args: K8sRegionArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:K8sRegion", name, {}, opts)
        self.name = name
        self.host = args["host"]
        self.tiers = self.host.tiers
        self.priorities = K8sPriorities(f"{name}-priorities", self._child())
        # Whatever is in the namespace comes after the priority classes that its pods name.
        self.namespace = K8sNamespace(
            f"{name}-namespace",
            {
                "labels": args["labels"],
                "resolvers": self.host.resolvers,
                "after": self.priorities.classes,
            },
            self._child(),
        )
        self.pools: dict[str, tuple[Placement, Budget]] = {}
        self._images = args["target"].images
        self._pull_secrets = args["target"].image_pull_secrets
        self._scrapers = args["target"].scrapers
        self._endpoint = args["endpoint"]
        self._trained_on: set[str] = set()
        self._held: dict[str, Output[str]] = {}
        self.register_outputs({"hot": self.tiers.hot, "warm": self.tiers.warm, "cold": self.tiers.cold})

    def pool(self, pool: PoolSettings) -> None:
        self.pools[pool.name] = (self.host.pool(pool), Budget(pool.name, self.name, pool.max_nodes))

    def train(self, run: TrainingSettings) -> TrainingRun:
        placement = self._place(run.pool, run.workers, f"training {run.name!r}")
        self._trained_on.add(run.pool)
        exports = Output.concat(self.tiers.warm, "/training/", run.name)
        identity = self._identity(f"train-{run.name}", self._images.training, Grant(exports, Access.WRITE))
        job = K8sTrainingJob(
            f"{self.name}-{run.name}-training",
            run,
            namespace=self.namespace.name,
            image=self._images.training,
            placement=placement,
            identity=identity,
            warm=self.tiers.warm,
            pull_secrets=self._pull_secrets,
            scrapers=self._scrapers,
            opts=self._child(),
        )
        return job.run

    def publish(self, model: ModelSettings, run: TrainingRun | None) -> ModelVersion:
        grants = [Grant(self._versions_of(model.name), Access.WRITE)]
        if run is not None:
            grants.append(Grant(run.uri, Access.READ))
        elif model.source.startswith(BUCKETS):
            grants.append(Grant(Output.from_input(model.source), Access.READ))
        made = K8sModelVersion(
            f"{self.name}-{model.name}-version",
            model,
            run,
            namespace=self.namespace.name,
            image=self._images.serving,
            identity=self._identity(f"publish-{model.name}", self._images.serving, *grants),
            hot=self.tiers.hot,
            placement=self._place(model.pool, 1, f"publishing {model.name!r}")
            if model.pool
            else self._transfers_on(),
            opts=self._child(),
        )
        self._held[model.name] = made.version.uri
        return made.version

    def serve(self, service: ServiceSettings, version: ModelVersion, after: Service | None = None) -> Service:
        placement = self._place(service.pool, service.most, f"service {service.name!r}")
        uri = self._hold(version)
        made = K8sInferenceService(
            f"{self.name}-{service.name}",
            service,
            version,
            region=self.name,
            namespace=self.namespace.name,
            image=self._images.serving,
            placement=placement,
            identity=self._identity(f"serve-{service.name}", self._images.serving, Grant(uri, Access.READ)),
            model_uri=uri,
            drain_seconds=self._endpoint.drain,
            scrapers=self._scrapers,
            opts=self._child(_standing(after) if after else None),
        )
        return Service(service.name, service.replicas, made.address)

    def expose(self, services: Sequence[Service], endpoint: EndpointSettings) -> RegionEndpoint:
        gateway = K8sGateway(
            f"{self.name}-gateway",
            namespace=self.namespace.name,
            image=self._images.gateway,
            pull_secrets=self._pull_secrets,
            scrapers=self._scrapers,
            addresses={service.name: service.address for service in services},
            callers=self.host.callers,
            front=self.host.front,
            settings=endpoint,
            opts=self._child(),
        )
        return self.host.attach(gateway.backend, endpoint)

    def _place(self, pool: str, nodes: int, user: str) -> Placement:
        placement, budget = self.pools[pool]
        budget.take(nodes, user)
        return placement

    def _transfers_on(self) -> Placement | None:
        """Where versions are copied, and published if their models name no pool: the first pool of CPUs on which no run
        trains; None for the system nodes.

        Such a pod takes no node of the budget. A replica that finds no node ends it and takes its own, since replicas
        have the higher priority. A run could not, and publishing its model waits for its end: no run's pool will do.
        """
        free = (made for name, (made, _) in self.pools.items() if name not in self._trained_on)
        return next((made for made in free if not made.accelerators), None)

    def _hold(self, version: ModelVersion) -> Output[str]:
        """Where this region holds a version: where it was published, or a copy of its own, made once."""
        if version.name not in self._held:
            copy = K8sModelCopy(
                f"{self.name}-{version.name}-version",
                version,
                namespace=self.namespace.name,
                image=self._images.serving,
                identity=self._identity(
                    f"copy-{version.name}",
                    self._images.serving,
                    Grant(version.uri, Access.READ),
                    Grant(self._versions_of(version.name), Access.WRITE),
                ),
                hot=self.tiers.hot,
                placement=self._transfers_on(),
                opts=self._child(),
            )
            self._held[version.name] = copy.uri
        return self._held[version.name]

    def _versions_of(self, model: str) -> Output[str]:
        return Output.concat(self.tiers.hot, "/models/", model)

    def _identity(self, account: str, image: str, *grants: Grant) -> K8sIdentity:
        return K8sIdentity(
            f"{self.name}-{account}-identity",
            account,
            self.namespace.name,
            self.host,
            grants,
            image,
            self._pull_secrets,
            self._child(),
        )

    def _child(self, depends_on: Output[list[pulumi.Resource]] | None = None) -> ResourceOptions:
        return ResourceOptions(parent=self, depends_on=depends_on)


def _standing(service: Service) -> Output[list[pulumi.Resource]]:
    """Depends on what the service's address depends on: its replicas, whichever region they are in."""
    return service.address.apply(lambda _: list[pulumi.Resource]())
