"""Whom a proxy passes requests to: replicas of a service, regions, and its own inner listener. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from components.contracts import HEALTH_PATH
from components.envoy.limits import BUFFER_BYTES, LARGE_BODIES, TYPE, Json, circuit_breakers
from components.settings.items import EndpointSettings

Address = tuple[str, int]
"""Host, as an address or a name, and port. A name stands for all the addresses that DNS has for it."""
REGIONS_CLUSTER = "regions"
ANY_SERVICE = "_any-service"  # no service can be called so
SMALL, LARGE = "_small-bodies", "_large-bodies"
MODELS = "models"
"""Name of the inner listener, which reads bodies."""
READY_PATH = "/v2/health/ready"
# Where a name has addresses of both kinds, those that everything here listens on.
LOOKED_UP = {
    "type": "STRICT_DNS",
    "dns_lookup_family": "V4_PREFERRED",
    "dns_refresh_rate": "2s",
    # A replica that is about to stop leaves its name first. It gets no new request from then on, though it answers.
    "ignore_health_on_host_removal": True,
}
KEPT_SECONDS = 3
"""For which a connection without a request is kept: less than the serving workload keeps it, which then closes it
without notice, under the next request (5 s: uvicorn's default `timeout_keep_alive`, uvicorn.org/settings, read
2026-12-01)."""
HTTP_OPTIONS = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": f"{KEPT_SECONDS}s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
}


def region_clusters(
    services: Mapping[str, Sequence[Address]],
    endpoint: EndpointSettings,
    files: Mapping[str, str] | None = None,
) -> list[Json]:
    """Clusters of a region: its own inner listener, one per service, and one of all replicas, which only the region's
    health looks at.

    Args:
        services: cluster -> addresses that its replicas may have.
        endpoint: health checks.
        files: cluster -> watched file that says which addresses it has now (`components.envoy.endpoints`); None where
            the addresses are fixed.
    """
    inner = [_inner(SMALL, circuit_breakers()), _inner(LARGE, circuit_breakers(LARGE_BODIES))]
    if not services:
        return inner
    everyone = [{"lb_endpoints": [_endpoint(one) for replicas in services.values() for one in replicas]}]
    made = [service_cluster(name, replicas, endpoint) for name, replicas in services.items()]
    return [
        *inner,
        *(_discovered(cluster, files[cluster["name"]]) if files else cluster for cluster in made),
        _cluster(ANY_SERVICE, everyone, READY_PATH, endpoint),
    ]


def service_cluster(name: str, replicas: Sequence[Address], endpoint: EndpointSettings) -> Json:
    """Cluster of one service's replicas."""
    members = [{"lb_endpoints": [_endpoint(replica) for replica in replicas]}]
    return {
        **_cluster(name, members, READY_PATH, endpoint),
        "lb_policy": "LEAST_REQUEST",
        "outlier_detection": {
            "consecutive_5xx": 5,
            "consecutive_gateway_failure": 2,
            "enforcing_consecutive_gateway_failure": 100,
            "base_ejection_time": "5s",
            "max_ejection_percent": 50,
        },
    }


def _discovered(cluster: Json, file: str) -> Json:
    """The same cluster, whose members a watched file names. One that is taken out gets no new request from then on,
    though it still answers."""
    fixed = {key: value for key, value in cluster.items() if key not in ("load_assignment", "type")}
    source = {"path_config_source": {"path": file}, "resource_api_version": "V3"}
    return {
        **fixed,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": source},
        "ignore_health_on_host_removal": True,
    }


def regions_cluster(
    regions: Mapping[str, Address], share: Mapping[str, float], endpoint: EndpointSettings
) -> Json:
    """Cluster of the regional endpoints: shares as locality weights; a region with share 0 comes second.

    Args:
        regions: region -> address, of regions that are not drained.
        share: region -> share of the requests.
    """
    members = [
        {
            "locality": {"region": region},
            "priority": 0 if share[region] > 0 else 1,
            "load_balancing_weight": max(1, round(1000 * share[region])),
            "lb_endpoints": [_endpoint(address)],
        }
        for region, address in regions.items()
    ]
    cluster = _cluster(REGIONS_CLUSTER, members, HEALTH_PATH, endpoint)
    cluster["common_lb_config"]["locality_weighted_lb_config"] = {}
    return {**cluster, "lb_policy": "ROUND_ROBIN"}


def socket(address: Address) -> Json:
    host, port = address
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(name: str, members: list[Json], health_path: str, endpoint: EndpointSettings) -> Json:
    health = endpoint.health
    hosts = [
        one["endpoint"]["address"]["socket_address"]["address"]
        for part in members
        for one in part["lb_endpoints"]
    ]
    return {
        "name": name,
        **({"type": "STATIC"} if all(map(_is_number, hosts)) else LOOKED_UP),
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "circuit_breakers": circuit_breakers(),
        "typed_extension_protocol_options": HTTP_OPTIONS,
        "load_assignment": {"cluster_name": name, "endpoints": members},
        # No healthy member is an answer (503), not a reason to try the sick ones.
        # What a health check finds counts at once. By default Envoy collects such changes for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": f"{health.interval_seconds}s",
                "no_traffic_interval": f"{health.interval_seconds}s",
                "unhealthy_threshold": health.unhealthy_after,
                "healthy_threshold": health.healthy_after,
                "http_health_check": {"path": health_path},
            }
        ],
    }


def _inner(name: str, breakers: Json) -> Json:
    address = {"envoy_internal_address": {"server_listener_name": MODELS}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "circuit_breakers": breakers,
        "typed_extension_protocol_options": HTTP_OPTIONS,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _endpoint(address: Address) -> Json:
    return {"endpoint": {"address": socket(address)}}


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
