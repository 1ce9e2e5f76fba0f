"""One region of target `aws`, recorded with everything that can be asked of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from pulumi import Output, ResourceOptions

from components.aws.host import AwsClusterHost
from components.aws.providers import aws_provider
from components.aws.reach import ExtraRoute
from components.aws.settings import AwsNetwork
from components.aws.versions import pinned
from components.contracts import Access, Backend, Grant, ServiceAccount
from components.delay import delay_provider
from components.settings.items import Capacity, EndpointSettings, HealthSettings, PoolSettings
from tests.recorder import Recording, Registered, record
from tests.stand_ins import StandIns

ACCOUNT, REGION, STACK = "111122223333", "us-east-1", "dev-aws-us-east-1"
CLUSTER = f"{STACK}-{REGION}-{f'{REGION}-network-id'[-8:]}"
"""It ends as the VPC's id does."""
LABELS = {"environment": "dev", "stack": STACK}
ZONES = ("us-east-1a", "us-east-1b")
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/teams/platform"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000"
IMAGE = f"registry.example.com/autoscaler@sha256:{'1' * 64}"
NETWORK = AwsNetwork(
    cidr="10.16.0.0/16",
    zones=ZONES,
    certificate=CERTIFICATE,
    operators=("10.64.0.0/24",),
    extra_routes=(ExtraRoute(destination="10.64.0.0/24", target="pcx-0123456789abcdef0"),),
)
ENDPOINT = EndpointSettings(
    idle_timeout_seconds=90,
    drain_seconds=20,
    health=HealthSettings(interval_seconds=10, unhealthy_after=3, healthy_after=4),
)
VERSIONS = pinned("1.35", {}, "1.34.0-18d04e52")
READER = ServiceAccount("skerry", "assistant")
RESERVATION = "cr-0123456789abcdef0"


def pool(**changes: Any) -> PoolSettings:
    """A pool of L4s on every kind of capacity."""
    whole = {
        "name": "serve",
        "accelerator": "l4",
        "max_nodes": 4,
        "ladder": (Capacity.RESERVED, Capacity.SPOT, Capacity.ON_DEMAND),
        "reservation": RESERVATION,
        "reservation_zone": ZONES[1],
        **changes,
    }
    return PoolSettings(**whole)


def backend() -> Backend:
    """Pods of a gateway."""
    return Backend("skerry", {"app": "gateway"}, 10000, Output.from_input("stands"))


def made(
    use: Callable[[AwsClusterHost], Any] = lambda host: None,
    name: str = REGION,
    stack: str = STACK,
    network: AwsNetwork = NETWORK,
) -> Recording:
    """A region, and what `use` makes of it."""

    def program() -> Any:
        provider = aws_provider(f"{name}-aws", ACCOUNT, name, LABELS)
        here = network.model_copy(update={"zones": (f"{name}a", f"{name}b")})
        host = AwsClusterHost(
            name,
            {
                "account": ACCOUNT,
                "stack": stack,
                "network": here,
                "versions": VERSIONS,
                "administrators": [ADMINISTRATOR],
                "autoscaler": IMAGE,
                "pull_secrets": [],
                "labels": LABELS,
            },
            ResourceOptions(providers=[provider, delay_provider("delays")]),
        )
        return use(host)

    return record(program, StandIns(), stack=stack)


def everything(host: AwsClusterHost) -> None:
    """All that a region can be asked for."""
    host.pool(pool())
    host.pool(pool(name="prepare", accelerator="cpu", ladder=(Capacity.ON_DEMAND,), reservation=None))
    host.access(
        READER,
        [
            Grant(Output.concat(host.tiers.hot, "/models/assistant"), Access.READ),
            Grant(host.tiers.warm, Access.WRITE),
        ],
    )
    host.attach(backend(), ENDPOINT)


@functools.cache
def region() -> Recording:
    """A region that was asked for everything."""
    return made(everything)


def one(kind: str, name: str, recording: Recording | None = None) -> Mapping[str, Any]:
    """Inputs of the one resource of a type with a name."""
    (found,) = named(kind, name, recording)
    return found.inputs


def named(kind: str, name: str, recording: Recording | None = None) -> list[Registered]:
    """Resources of a type with a name."""
    return [found for found in (recording or region()).of(kind) if found.name == name]


def policies(recording: Recording | None = None) -> dict[str, list[dict[str, Any]]]:
    """Statements of every document of a recording: type and name -> statements."""
    found: dict[str, list[dict[str, Any]]] = {}
    for resource in (recording or region()).resources.values():
        for key in ("policy", "assumeRolePolicy"):
            text = resource.inputs.get(key)
            if isinstance(text, str) and text.startswith("{"):
                found[f"{resource.kind} {resource.name} {key}"] = json.loads(text)["Statement"]
    return found
