"""Target `local`: this machine, without root, Docker or an account."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import ResourceOptions

from components.contracts import GlobalEndpoint, RegionTraffic
from components.local.load_balancer import LocalGlobalLoadBalancer
from components.local.region import LocalRegion
from components.local.resources import ROOT, LocalProvider
from components.local.settings import LocalTarget
from components.local.traffic import Dialled
from components.naming import labels_of
from components.settings.items import RegionSettings
from components.settings.model import StackSettings


class LocalPlatform:
    """The regions of one machine share a provider."""

    def __init__(self, settings: StackSettings, target: LocalTarget) -> None:
        self.settings, self.target = settings, target
        self.provider = LocalProvider("local", root=ROOT)

    def region(self, region: RegionSettings) -> LocalRegion:
        index = self.settings.regions.index(region)
        return LocalRegion(
            region.name,
            {
                "index": index,
                "target": self.target,
                "endpoint": self.settings.endpoint,
                "labels": labels_of(self.settings, pulumi.get_stack()),
            },
            self._options(),
        )

    def load_balancer(self, traffic: Mapping[str, RegionTraffic]) -> GlobalEndpoint:
        balancer = LocalGlobalLoadBalancer(
            "global",
            {
                "port": self.target.port,
                "ready_seconds": self.target.ready_seconds,
                "handles": {name: region.endpoint.handle for name, region in traffic.items()},
            },
            {name: Dialled(region.dial, region.drained) for name, region in traffic.items()},
            self.settings.endpoint,
            self._options(),
        )
        return GlobalEndpoint(balancer.url)

    def _options(self) -> ResourceOptions:
        return ResourceOptions(providers=[self.provider])
