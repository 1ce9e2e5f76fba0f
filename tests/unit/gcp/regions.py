"""One region of target `gcp`, recorded with everything that can be asked of it, and what its clouds answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pulumi import Output, ResourceOptions

from components.contracts import Access, Backend, Grant, ServiceAccount
from components.delay import delay_provider
from components.gcp.host import GcpClusterHost
from components.gcp.node_pool import RUNG_LABEL
from components.gcp.providers import google_provider
from components.gcp.settings import GcpNetwork
from components.settings.items import Capacity, EndpointSettings, PoolSettings
from tests.recorder import Answers, Recording, record

PROJECT, NUMBER, REGION = "example-project", 123456789012, "us-central1"
LABELS = {"environment": "dev", "stack": "dev-gcp-us-central1"}
ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")
NETWORK = GcpNetwork(
    nodes="10.0.0.0/20",
    pods="10.16.0.0/14",
    services="10.1.0.0/20",
    zones=ZONES,
    accelerator_zones={"tpu-v5e": ("us-central1-b", "us-central1-c")},
)
ENDPOINT = EndpointSettings(request_timeout_seconds=300, drain_seconds=10)
ACCOUNT_EMAIL = f"nodes@{PROJECT}.iam.gserviceaccount.com"
STORAGE_AGENT = f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
CLUSTER_IP = "10.1.0.9"
DNS_NAME = "gke-1234.us-central1.gke.goog"


def _cluster(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    given = inputs["controlPlaneEndpointsConfig"]
    dns = {**given["dnsEndpointConfig"], "endpoint": DNS_NAME}
    return {"controlPlaneEndpointsConfig": {**given, "dnsEndpointConfig": dns}}


def _node_pool(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": f"pool-{inputs['nodeConfig']['labels'].get(RUNG_LABEL)}"}


def _service(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"spec": {**inputs["spec"], "clusterIP": CLUSTER_IP}}


ANSWERS: Answers = {
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": lambda inputs: {
        "name": f"pool-{inputs['nodeConfig']['labels'].get(RUNG_LABEL)}"
    },
    "gcp:serviceaccount/account:Account": lambda _: {
        "email": ACCOUNT_EMAIL,
        "member": f"serviceAccount:{ACCOUNT_EMAIL}",
    },
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": lambda asked: {
        "emailAddress": STORAGE_AGENT,
        "member": f"serviceAccount:{STORAGE_AGENT}",
        "project": asked["project"],
        "id": STORAGE_AGENT,
    },
    "kubernetes:core/v1:Service": _service,
    "gcp:compute/globalAddress:GlobalAddress": lambda _: {"address": "203.0.113.7"},
}


def pool(**changes: Any) -> PoolSettings:
    """A pool of L4s on every kind of capacity."""
    whole = {
        "name": "serve",
        "accelerator": "l4",
        "max_nodes": 4,
        "ladder": (Capacity.RESERVED, Capacity.SPOT, Capacity.ON_DEMAND),
        "reservation": "l4-in-a",
        "reservation_zone": "us-central1-a",
        **changes,
    }
    return PoolSettings(**whole)


def backend() -> Backend:
    """Pods of a gateway."""
    return Backend("skerry", {"app": "gateway"}, 10000, Output.from_input("stands"))


def made(use: Callable[[GcpClusterHost], Any] = lambda host: None) -> Recording:
    """A region, and what `use` makes of it."""

    def program() -> Any:
        provider = google_provider("google", PROJECT, LABELS, REGION)
        host = GcpClusterHost(
            REGION,
            {
                "project": PROJECT,
                "project_number": NUMBER,
                "environment": "dev",
                "network": NETWORK,
                "trains": {"train"},
            },
            ResourceOptions(providers=[provider, delay_provider("delays")]),
        )
        return use(host)

    return record(program, ANSWERS)


def one(recording: Recording, kind: str, name: str | None = None) -> Mapping[str, Any]:
    """Inputs of the one resource of a type, or of that with a name."""
    (found,) = (made for made in recording.of(f":{kind}") if name in (None, made.name))
    return found.inputs


def everything(host: GcpClusterHost) -> None:
    """All that a region can be asked for."""
    host.pool(pool())
    host.pool(pool(name="chips", accelerator="tpu-v5e", topology="2x2"))
    host.access(
        ServiceAccount("skerry", "assistant"),
        [
            Grant(Output.concat(host.tiers.hot, "/models/assistant"), Access.READ),
            Grant(host.tiers.warm, Access.WRITE),
        ],
    )
    host.attach(backend(), ENDPOINT)
