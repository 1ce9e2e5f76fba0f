"""Envoy's configuration as plain data. Pure: the callers write it where Envoy finds it.

A region's Envoy chooses the service by the `model` in the request's body and spreads over replicas; a global one
spreads over regions and fails over. Where listeners and clusters come from watched files, neither a new replica nor a
new dial restarts a proxy or cuts an answer; where replicas stand behind a name, DNS says which there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from components.contracts import HEALTH_PATH
from components.envoy.routes import (
    METADATA,
    NO_MODEL,
    NOT_JSON,
    TYPE,
    Json,
    region_routes,
    regions_routes,
)
from components.settings.items import EndpointSettings

Address = tuple[str, int]
"""Host, as an address or a name, and port. A name stands for all the addresses that DNS has for it."""
REGIONS_CLUSTER = "regions"
ANY_SERVICE = "_any-service"  # no service can be called so
ANY_MEMBER = {"value": 1}  # per cent, which Envoy takes whole: one of up to 100 members is enough
BODY_LIMIT_BYTES = 4 * 1024 * 1024
MAX_CONNECTIONS = 10_000
CONNECTIONS_MONITOR = "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
READY_PATH = "/v2/health/ready"
# Where a name has addresses of both kinds, those that everything here listens on.
LOOKED_UP = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED", "dns_refresh_rate": "2s"}
PROXY_ERROR = {
    "message": "%LOCAL_REPLY_BODY%",
    "type": "server_error",
    "param": None,
    "code": None,
}


def bootstrap(node: str, listeners: str, clusters: str, admin_socket: str) -> Json:
    """What Envoy starts with: two files to watch, and an administration socket that only the owner opens."""

    def watched(path: str) -> Json:
        return {"path_config_source": {"path": path}, "resource_api_version": "V3"}

    return {
        "node": {"id": node, "cluster": "skerry"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": watched(listeners),
            "cds_config": watched(clusters),
        },
        "overload_manager": _overload_manager(),
    }


def fixed_bootstrap(node: str, listeners: Sequence[Json], clusters: Sequence[Json]) -> Json:
    """What Envoy starts with where another configuration is another process. It has no administration port."""
    return {
        "node": {"id": node, "cluster": "skerry"},
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        "overload_manager": _overload_manager(),
    }


def region_listener(
    address: Address,
    services: Mapping[str, str],
    endpoint: EndpointSettings,
    connection_seconds: int | None = None,
) -> Json:
    """Listener of a region.

    Args:
        address: where it listens.
        services: model name -> cluster.
        endpoint: time-outs.
        connection_seconds: after which a caller is asked, with an answer, to connect anew; None for never. Whoever
            stands in front and keeps connections follows a change of proxies only so.
    """
    filters = [
        {
            "name": "health",
            "typed_config": {
                "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
                "pass_through_mode": False,
                "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
                # Of any service: a region that lacks one still serves the others.
                "cluster_min_healthy_percentages": {ANY_SERVICE: ANY_MEMBER} if services else {},
            },
        },
        {
            "name": "model",
            "typed_config": {
                "@type": f"{TYPE}.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
                "request_rules": {
                    "rules": [
                        {
                            "selectors": [{"key": "model"}],
                            "on_present": {
                                "metadata_namespace": METADATA,
                                "key": "model",
                            },
                            "on_missing": _metadata_value(NO_MODEL),
                            "on_error": _metadata_value(NOT_JSON),
                        }
                    ],
                    "allow_empty_content_type": True,
                    "allow_content_types_regex": {"regex": ".*"},
                },
            },
        },
    ]
    listener = _listener(address, filters, region_routes(services, endpoint), endpoint)
    if connection_seconds is not None:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["common_http_protocol_options"] = {"max_connection_duration": f"{connection_seconds}s"}
    return listener


def global_listener(address: Address, endpoint: EndpointSettings) -> Json:
    """Listener of the global load balancer: everything goes to a region, or to another if that fails."""
    health = {
        "name": "health",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
            "cluster_min_healthy_percentages": {REGIONS_CLUSTER: ANY_MEMBER},
        },
    }
    return _listener(address, [health], regions_routes(REGIONS_CLUSTER, endpoint), endpoint)


def region_clusters(services: Mapping[str, Sequence[Address]], endpoint: EndpointSettings) -> list[Json]:
    """Clusters of a region: one per service, and one of all replicas, which only the region's health looks at.

    Args:
        services: cluster -> addresses of its replicas.
        endpoint: health checks.
    """
    if not services:
        return []
    everyone = [{"lb_endpoints": [_endpoint(one) for replicas in services.values() for one in replicas]}]
    return [
        *(service_cluster(name, replicas, endpoint) for name, replicas in services.items()),
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


def discovery(kind: str, resources: Sequence[Json]) -> str:
    """A file of Envoy's discovery service. kind: `listener.v3.Listener` or `cluster.v3.Cluster`."""
    typed = [{"@type": f"{TYPE}.config.{kind}", **resource} for resource in resources]
    return json.dumps({"resources": typed}, indent=1, sort_keys=True) + "\n"


def _listener(address: Address, filters: list[Json], routes: list[Json], endpoint: EndpointSettings) -> Json:
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "stream_idle_timeout": f"{endpoint.idle_timeout_seconds}s",
        "request_headers_timeout": "10s",
        "drain_timeout": f"{endpoint.drain}s",
        "local_reply_config": {
            "mappers": [
                {
                    # The proxy's own failures speak the protocol: nobody healthy, no connection, out of time.
                    "filter": {"response_flag_filter": {"flags": ["UH", "UF", "URX", "UT", "UC"]}},
                    "body_format_override": {"json_format": {"error": PROXY_ERROR}},
                }
            ]
        },
        "http_filters": [
            *filters,
            {
                "name": "router",
                "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"},
            },
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            "validate_clusters": False,
        },
    }
    return {
        "name": "http",
        "address": _socket(address),
        "per_connection_buffer_limit_bytes": BODY_LIMIT_BYTES,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


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
        "load_assignment": {"cluster_name": name, "endpoints": members},
        # No healthy member is an answer (503), not a reason to try the sick ones.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
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


def _endpoint(address: Address) -> Json:
    return {"endpoint": {"address": _socket(address)}}


def _socket(address: Address) -> Json:
    host, port = address
    return {"socket_address": {"address": host, "port_value": port}}


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _overload_manager() -> Json:
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{TYPE}.{CONNECTIONS_MONITOR}",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            }
        ]
    }


def _metadata_value(value: str) -> Json:
    return {"metadata_namespace": METADATA, "key": "model", "value": value}
