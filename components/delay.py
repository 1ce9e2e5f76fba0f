"""Fixed delays, for changes whose effect nothing in the program can observe before it is needed.

A delay is the last resort. Each caller names the source of its seconds.

The resource is `time_sleep` of Terraform's provider `time`, bridged by pulumiverse. It takes part in the engine's
order, and it waits only when it is created. Its Python package (pulumiverse-time 0.1.1, read 2026-12-01) is published
as source only, while the toolkit installs wheels only, so this file declares the one type that is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi import Input, ResourceOptions

PACKAGE = "time"
VERSION = "0.1.1"
PLUGIN_URL = "github://api.github.com/pulumiverse/pulumi-time"
"""Where the engine finds the plugin. Source: `pulumi-plugin.json` of pulumiverse-time 0.1.1."""


def delay_provider(name: str) -> pulumi.ProviderResource:
    """Provider of delays. Stacks disable default providers, so a region passes this one to its components."""
    options = ResourceOptions(version=VERSION, plugin_download_url=PLUGIN_URL)
    return pulumi.ProviderResource(PACKAGE, name, {}, options)


class Delay(pulumi.CustomResource):
    """Ends `seconds` after the resources that `after` is made from exist. `id` is known when the delay is over.

    Args:
        name: logical name.
        seconds: how long to wait.
        after: texts such as ids of grants. When one of them changes, the delay is replaced and so waits again.
        opts: resource options; the provider comes with the parent.
    """

    def __init__(
        self,
        name: str,
        seconds: int,
        after: Mapping[str, Input[str]],
        opts: ResourceOptions | None = None,
    ) -> None:
        pinned = ResourceOptions(version=VERSION, plugin_download_url=PLUGIN_URL)
        super().__init__(
            f"{PACKAGE}:index/sleep:Sleep",
            name,
            {"createDuration": f"{seconds}s", "triggers": dict(after)},
            ResourceOptions.merge(pinned, opts),
        )
