"""From settings to resources: the one table target -> builders, the regions, and the global layer over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.contracts import (
    GlobalEndpoint,
    ModelVersion,
    RegionEndpoint,
    RegionTraffic,
    Service,
    Target,
    TrainingRun,
)
from components.local.platform import LocalPlatform
from components.settings.items import RegionSettings
from components.settings.model import StackSettings

TARGETS: Mapping[str, Callable[[StackSettings], Target]] = {"local": LocalPlatform}
"""The one place where a target's name means something."""


@dataclass(frozen=True)
class BuiltRegion:
    """One region as it was built."""

    settings: RegionSettings
    endpoint: RegionEndpoint
    services: tuple[Service, ...]


@dataclass(frozen=True)
class Regions:
    """All regions of a stack, and what they share: a run is done and a version published once."""

    built: Mapping[str, BuiltRegion]
    runs: Mapping[str, TrainingRun]
    versions: Mapping[str, ModelVersion]


def target_of(settings: StackSettings) -> Target:
    """The stack's target; settings have already refused a name that is not in the table."""
    return TARGETS[settings.target.name](settings)


def build_regions(target: Target, settings: StackSettings) -> Regions:
    """Pools in every region, each run in its own, each version once, then services and an endpoint everywhere.

    A service rolls through the regions one after the other: while it changes in one, it stands in the others.
    """
    regions = {region.name: target.region(region) for region in settings.regions}
    for region in regions.values():
        for pool in settings.pools:
            region.pool(pool)
    runs = {run.name: regions[run.region].train(run) for run in settings.training}
    home = {run.name: regions[run.region] for run in settings.training}
    versions = {
        model.name: home.get(model.run or "", regions[settings.regions[0].name]).publish(
            model, runs.get(model.run or "")
        )
        for model in settings.models
    }
    built: dict[str, BuiltRegion] = {}
    before: dict[str, Service] = {}
    for region in settings.regions:
        here = regions[region.name]
        services = tuple(
            here.serve(service, versions[service.model], before.get(service.name))
            for service in settings.services
        )
        before = {service.name: service for service in services}
        built[region.name] = BuiltRegion(region, here.expose(services, settings.endpoint), services)
    return Regions(built, runs, versions)


def build_global_load_balancer(target: Target, regions: Regions) -> GlobalEndpoint:
    """One address in front of all regions."""
    traffic = {
        name: RegionTraffic(region.endpoint, region.settings.dial, region.settings.drained)
        for name, region in regions.built.items()
    }
    return target.load_balancer(traffic)


def outputs(regions: Regions, balancer: GlobalEndpoint) -> dict[str, object]:
    """What the stack tells: endpoint, regions, models, training and quantization, each by name."""
    return {
        "endpoint": balancer.url,
        "regions": {
            name: {
                "endpoint": region.endpoint.url,
                "replicas": {service.name: service.replicas for service in region.services},
            }
            for name, region in regions.built.items()
        },
        "models": {
            name: {
                "version": version.version,
                "digest": version.digest,
                "scheme": version.scheme,
            }
            for name, version in regions.versions.items()
        },
        "training": {name: run.record for name, run in regions.runs.items()},
        "quantization": {
            name: {
                "bytes_before": version.bytes_before,
                "bytes_after": version.bytes_after,
            }
            for name, version in regions.versions.items()
        },
    }
