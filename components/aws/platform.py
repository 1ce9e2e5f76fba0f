"""Target `aws`: regions on EKS, and Global Accelerator over them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import ResourceOptions

from components.aws.host import AwsClusterHost
from components.aws.load_balancer import AwsGlobalLoadBalancer
from components.aws.providers import GLOBAL_REGION, aws_provider
from components.aws.settings import AwsTarget
from components.contracts import GlobalEndpoint, Region, RegionTraffic
from components.delay import delay_provider
from components.k8s.region import K8sRegion
from components.naming import labels_of
from components.settings.items import RegionSettings
from components.settings.model import StackSettings


class AwsPlatform:
    """Regions of one account. A provider is made with what it is for: a stack without regions has no regional one."""

    def __init__(self, settings: StackSettings, target: AwsTarget) -> None:
        self.settings, self.target = settings, target
        self.stack = pulumi.get_stack()
        self.labels = labels_of(settings, self.stack)

    def region(self, region: RegionSettings) -> Region:
        host = AwsClusterHost(
            region.name,
            {
                "account": self.target.account,
                "stack": self.stack,
                "network": self.target.networks[region.name],
                "administrators": self.target.administrators,
                "versions": self.target.versions,
                "autoscaler": self.target.autoscaler,
                "pull_secrets": self.target.image_pull_secrets,
                "labels": self.labels,
            },
            ResourceOptions.merge(
                self._by(f"{region.name}-aws", region.name),
                ResourceOptions(providers=[delay_provider(f"{region.name}-delays")]),
            ),
        )
        endpoint = self.settings.endpoint
        return K8sRegion(
            region.name,
            {"host": host, "target": self.target, "endpoint": endpoint, "labels": self.labels},
            ResourceOptions(providers=[host.provider]),
        )

    def load_balancer(self, traffic: Mapping[str, RegionTraffic]) -> GlobalEndpoint:
        made = AwsGlobalLoadBalancer(
            "global",
            {"domain": self.target.domain or "", "traffic": traffic},
            self._by("global-aws", GLOBAL_REGION),
        )
        return GlobalEndpoint(made.url)

    def _by(self, name: str, region: str) -> ResourceOptions:
        return ResourceOptions(providers=[aws_provider(name, self.target.account, region, self.labels)])
