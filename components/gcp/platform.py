"""Target `gcp`: regions on GKE, and the global external Application Load Balancer over them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import ResourceOptions

from components.contracts import GlobalEndpoint, Region, RegionTraffic
from components.delay import delay_provider
from components.gcp.host import GcpClusterHost
from components.gcp.load_balancer import GcpGlobalLoadBalancer
from components.gcp.providers import google_provider
from components.gcp.settings import GcpTarget
from components.k8s.region import K8sRegion
from components.naming import labels_of
from components.settings.items import RegionSettings
from components.settings.model import StackSettings


class GcpPlatform:
    """A provider per region and one for the global layer: nothing is made for a region that another stack holds."""

    def __init__(self, settings: StackSettings, target: GcpTarget) -> None:
        self.settings = settings
        self.target = target
        self.labels = labels_of(settings, pulumi.get_stack())

    def region(self, region: RegionSettings) -> Region:
        provider = google_provider(f"{region.name}-google", self.target.project, self.labels, region.name)
        host = GcpClusterHost(
            region.name,
            {
                "project": self.target.project,
                "project_number": self.target.project_number,
                "environment": self.settings.environment,
                "network": self.target.networks[region.name],
                "trains": {run.pool for run in self.settings.training if run.region == region.name},
            },
            ResourceOptions(providers=[provider, delay_provider(f"{region.name}-delays")]),
        )
        return K8sRegion(
            region.name,
            {
                "host": host,
                "target": self.target,
                "endpoint": self.settings.endpoint,
                "labels": self.labels,
            },
            ResourceOptions(providers=[host.provider]),
        )

    def load_balancer(self, traffic: Mapping[str, RegionTraffic]) -> GlobalEndpoint:
        provider = google_provider("global-google", self.target.project, self.labels)
        balancer = GcpGlobalLoadBalancer(
            "global",
            {
                "domain": self.target.domain or "",
                "rate": self.target.requests_per_gateway,
                "traffic": traffic,
            },
            self.settings.endpoint,
            ResourceOptions(providers=[provider]),
        )
        return GlobalEndpoint(balancer.url)
