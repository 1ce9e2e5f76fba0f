"""From settings to resources: the one table target -> builders, the regions, and the global layer over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components import references
from components.contracts import (
    GlobalEndpoint,
    ModelVersion,
    Region,
    RegionEndpoint,
    RegionTraffic,
    Service,
    Target,
    TrainingRun,
)
from components.settings.items import Layer
from components.settings.model import StackSettings


def _local(settings: StackSettings, target: Any) -> Target:
    from components.local.platform import LocalPlatform

    return LocalPlatform(settings, target)


def _aws(settings: StackSettings, target: Any) -> Target:
    from components.aws.platform import AwsPlatform

    return AwsPlatform(settings, target)


def _gcp(settings: StackSettings, target: Any) -> Target:
    from components.gcp.platform import GcpPlatform

    return GcpPlatform(settings, target)


TARGETS: Mapping[str, Callable[[StackSettings, Any], Target]] = {"local": _local, "aws": _aws, "gcp": _gcp}
"""The one place where a target's name means something. A cloud's SDK takes half a second to import, so a target's
modules are imported when it is chosen."""


@dataclass(frozen=True)
class Regions:
    """All regions of a stack, and what they share: a run is done and a version published once."""

    endpoints: Mapping[str, RegionEndpoint]
    services: Mapping[str, tuple[Service, ...]]
    runs: Mapping[str, TrainingRun]
    versions: Mapping[str, ModelVersion]


def target_of(settings: StackSettings) -> Target:
    """The stack's target; settings have already refused a name that is not in the table."""
    return TARGETS[settings.target.name](settings, settings.target)


def build_regions(target: Target, settings: StackSettings) -> Regions:
    """The regions that the stack makes, or those of other stacks that it reads."""
    if not settings.holds(Layer.PLATFORM):
        read = {
            region.name: references.region_of(region.stack or "", region.name) for region in settings.regions
        }
        return Regions(read, {}, {}, {})
    regions = {region.name: target.region(region) for region in settings.regions}
    for region in regions.values():
        for pool in settings.pools:
            region.pool(pool)
    runs = {run.name: regions[run.region].train(run) for run in settings.training}
    versions = _publish(regions, runs, settings)
    services = _serve(regions, versions, settings)
    endpoints = {name: region.expose(services[name], settings.endpoint) for name, region in regions.items()}
    return Regions(endpoints, services, runs, versions)


def _publish(
    regions: Mapping[str, Region], runs: Mapping[str, TrainingRun], settings: StackSettings
) -> dict[str, ModelVersion]:
    """Each version once: in the region of its run, or in the first."""
    home = {run.name: regions[run.region] for run in settings.training}
    first = regions[settings.regions[0].name]
    return {
        model.name: home.get(model.run or "", first).publish(model, runs.get(model.run or ""))
        for model in settings.models
    }


def _serve(
    regions: Mapping[str, Region], versions: Mapping[str, ModelVersion], settings: StackSettings
) -> dict[str, tuple[Service, ...]]:
    """A service rolls through the regions one after the other: while it changes in one, it stands in the others."""
    served: dict[str, tuple[Service, ...]] = {}
    before: dict[str, Service] = {}
    for name, region in regions.items():
        served[name] = tuple(
            region.serve(service, versions[service.model], before.get(service.name))
            for service in settings.services
        )
        before = {service.name: service for service in served[name]}
    return served


def build_global_load_balancer(
    target: Target, regions: Regions, settings: StackSettings
) -> GlobalEndpoint | None:
    """One address in front of all regions, where the stack holds the layer global."""
    if not settings.holds(Layer.GLOBAL):
        return None
    traffic = {
        region.name: RegionTraffic(regions.endpoints[region.name], region.dial, region.drained)
        for region in settings.regions
    }
    return target.load_balancer(traffic)


def outputs(regions: Regions, balancer: GlobalEndpoint | None) -> dict[str, object]:
    """What the stack tells: endpoint (where it has the global one), regions, models, training and quantization."""
    told: dict[str, object] = {"endpoint": balancer.url} if balancer else {}
    return told | {
        "regions": {
            name: {
                **references.told(endpoint),
                "replicas": {service.name: service.replicas for service in regions.services.get(name, ())},
            }
            for name, endpoint in regions.endpoints.items()
        },
        "models": {
            name: {"version": version.version, "digest": version.digest, "scheme": version.scheme}
            for name, version in regions.versions.items()
        },
        "training": {name: run.record for name, run in regions.runs.items()},
        "quantization": {name: version.facts for name, version in regions.versions.items()},
    }
