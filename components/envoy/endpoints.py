"""Endpoints of one cluster as a file of Envoy's discovery service. Pure.

Envoy watches the file: what it is replaced by takes effect without another listener, another cluster or a restart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

LOAD_ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def assignment(cluster: str, host: str, ports: Iterable[int]) -> str:
    """The file's content: members of `cluster`, on one host."""
    members = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for port in sorted(ports)
    ]
    resource = {
        "@type": LOAD_ASSIGNMENT,
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": members}] if members else [],
    }
    return json.dumps({"resources": [resource]}, indent=1, sort_keys=True) + "\n"
