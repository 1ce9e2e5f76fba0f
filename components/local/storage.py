"""Tiered storage of this machine: a folder per tier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict

import pulumi
from pulumi import Output, ResourceOptions

from components.contracts import Tiers
from components.local.layout import tier_uri
from components.local.resources import ROOT, File

TIERS = ("hot", "warm", "cold")


class LocalTieredStorageArgs(TypedDict):
    """Args of `LocalTieredStorage`."""

    region: str
    """Region that the tiers belong to."""
    labels: Mapping[str, str]
    """Stand in every tier's `tier.json`."""


class LocalTieredStorage(pulumi.ComponentResource):
    """Three folders, each with a `tier.json` that says what it is. They share one disk: what differs in the cloud
    (price, latency) is the same here, what is the same (URIs, who writes where) is exercised."""

    def __init__(
        self,
        name: str,
        args: LocalTieredStorageArgs,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:LocalTieredStorage", name, dict(args), opts)
        region = args["region"]
        self.markers = {
            tier: File(
                f"{name}-{tier}",
                path=f".skerry/tiers/{region}/{tier}/tier.json",
                content=json.dumps(
                    {"region": region, "tier": tier, "labels": args["labels"]},
                    sort_keys=True,
                )
                + "\n",
                opts=ResourceOptions(parent=self),
            )
            for tier in TIERS
        }
        self.tiers = Tiers(**{tier: self._uri(region, tier) for tier in TIERS})
        self.register_outputs({tier: getattr(self.tiers, tier) for tier in TIERS})

    def _uri(self, region: str, tier: str) -> Output[str]:
        """Known before `up`, and still after the marker: whoever uses a tier waits until it is there."""
        uri = tier_uri(ROOT, region, tier)
        return self.markers[tier].path.apply(lambda _: uri)
