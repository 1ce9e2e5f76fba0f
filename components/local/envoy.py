"""Envoy's configuration as plain data. Pure: the callers write it to files that Envoy watches.

A region's Envoy chooses the service by the `model` in the request's body and spreads over replicas; the global
one spreads over regions and fails over. Listeners and clusters come from watched files, so neither a new replica
nor a new dial restarts a proxy or cuts an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.settings import EndpointSettings

Json = dict[str, Any]

LOOPBACK = "127.0.0.1"
REGIONS_CLUSTER = "regions"
METADATA = "skerry.request"
BODY_LIMIT_BYTES = 4 * 1024 * 1024
MAX_CONNECTIONS = 10_000
NOT_JSON, NO_MODEL = "(not json)", "(no model)"  # no service can be called so
READY_PATH = "/v2/health/ready"
HEALTH_PATH = "/healthz"
PROXY_ERROR = {
    "message": "%LOCAL_REPLY_BODY%",
    "type": "server_error",
    "param": None,
    "code": None,
}
TYPE = "type.googleapis.com/envoy"


def bootstrap(node: str, listeners: str, clusters: str, admin_socket: str) -> Json:
    """What Envoy starts with: two files to watch, and an administration socket that only the owner can open."""

    def watched(path: str) -> Json:
        return {"path_config_source": {"path": path}, "resource_api_version": "V3"}

    return {
        "node": {"id": node, "cluster": "skerry"},
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": watched(listeners),
            "cds_config": watched(clusters),
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
    }


def region_listener(
    port: int, services: Mapping[str, str], endpoint: EndpointSettings
) -> Json:
    """Listener of a region.

    Args:
        port: on loopback.
        services: model name -> cluster.
        endpoint: time-outs.
    """
    by_model = [
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is(model)]},
            "route": _to_cluster(cluster, endpoint),
        }
        for model, cluster in services.items()
    ]
    by_path = [
        {
            "match": {"path": f"/v1/models/{model}"},
            "route": _to_cluster(cluster, endpoint),
        }
        for model, cluster in services.items()
    ]
    listing = {
        "object": "list",
        "data": [
            {"id": model, "object": "model", "owned_by": "skerry"} for model in services
        ],
    }
    names = ", ".join(services) or "none"
    routes = [
        *by_path,
        {"match": {"path": "/v1/models"}, **_answer(200, listing)},
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is(NOT_JSON)]},
            **_refusal(400, "The body is not valid JSON. Send a JSON object.", None),
        },
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is(NO_MODEL)]},
            **_refusal(400, f"`model` is missing. Name one of: {names}.", "model"),
        },
        *by_model,
        {
            "match": {"prefix": "/v1/"},
            **_refusal(404, f"No such model. This endpoint serves: {names}.", "model"),
        },
        {
            "match": {"prefix": "/"},
            **_refusal(404, "No such path. Try /v1/models.", None),
        },
    ]
    healthy = {cluster: {"value": 1} for cluster in services.values()}
    filters = [
        {
            "name": "health",
            "typed_config": {
                "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
                "pass_through_mode": False,
                "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
                "cluster_min_healthy_percentages": healthy,
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
    return _listener(port, filters, routes, endpoint)


def global_listener(port: int, endpoint: EndpointSettings) -> Json:
    """Listener of the global load balancer: everything goes to a region, and on to another if that one fails."""
    health = {
        "name": "health",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
            "cluster_min_healthy_percentages": {REGIONS_CLUSTER: {"value": 1}},
        },
    }
    routes = [
        {"match": {"prefix": "/"}, "route": _to_cluster(REGIONS_CLUSTER, endpoint)}
    ]
    return _listener(port, [health], routes, endpoint)


def service_cluster(
    name: str, ports: Sequence[int], endpoint: EndpointSettings
) -> Json:
    """Cluster of one service's replicas."""
    members = [{"lb_endpoints": [_endpoint(port) for port in ports]}]
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
    ports: Mapping[str, int], share: Mapping[str, float], endpoint: EndpointSettings
) -> Json:
    """Cluster of the regional endpoints: shares as locality weights; a region with share 0 comes second.

    Args:
        ports: region -> port, of regions that are not drained.
        share: region -> share of the requests.
    """
    members = [
        {
            "locality": {"region": region},
            "priority": 0 if share[region] > 0 else 1,
            "load_balancing_weight": max(1, round(1000 * share[region])),
            "lb_endpoints": [_endpoint(port)],
        }
        for region, port in ports.items()
    ]
    cluster = _cluster(REGIONS_CLUSTER, members, HEALTH_PATH, endpoint)
    cluster["common_lb_config"]["locality_weighted_lb_config"] = {}
    return {**cluster, "lb_policy": "ROUND_ROBIN"}


def discovery(kind: str, resources: Sequence[Json]) -> str:
    """A file of Envoy's discovery service. kind: `listener.v3.Listener` or `cluster.v3.Cluster`."""
    typed = [{"@type": f"{TYPE}.config.{kind}", **resource} for resource in resources]
    return json.dumps({"resources": typed}, indent=1, sort_keys=True) + "\n"


def _listener(
    port: int, filters: list[Json], routes: list[Json], endpoint: EndpointSettings
) -> Json:
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "stream_idle_timeout": f"{endpoint.idle_timeout_seconds}s",
        "request_headers_timeout": "10s",
        "drain_timeout": f"{endpoint.drain_seconds}s",
        "local_reply_config": {
            "mappers": [
                {
                    # The proxy's own failures speak the protocol too: nobody healthy, no connection, out of time.
                    "filter": {
                        "response_flag_filter": {
                            "flags": ["UH", "UF", "URX", "UT", "UC"]
                        }
                    },
                    "body_format_override": {"json_format": {"error": PROXY_ERROR}},
                }
            ]
        },
        "http_filters": [
            *filters,
            {
                "name": "router",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.filters.http.router.v3.Router"
                },
            },
        ],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            "validate_clusters": False,
        },
    }
    return {
        "name": "http",
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "per_connection_buffer_limit_bytes": BODY_LIMIT_BYTES,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _to_cluster(cluster: str, endpoint: EndpointSettings) -> Json:
    return {
        "cluster": cluster,
        "timeout": f"{endpoint.request_timeout_seconds}s",
        "idle_timeout": f"{endpoint.idle_timeout_seconds}s",
        "retry_policy": {
            # Only failures before an answer began, and only elsewhere: a broken stream is never begun again.
            "retry_on": "connect-failure,refused-stream,reset-before-request,gateway-error",
            "num_retries": 2,
            "retry_host_predicate": [
                {
                    "name": "previous_hosts",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        },
    }


def _cluster(
    name: str, members: list[Json], health_path: str, endpoint: EndpointSettings
) -> Json:
    health = endpoint.health
    return {
        "name": name,
        "type": "STATIC",
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


def _endpoint(port: int) -> Json:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": LOOPBACK, "port_value": port}}
        }
    }


def _metadata_is(value: str) -> Json:
    return {
        "filter": METADATA,
        "path": [{"key": "model"}],
        "value": {"string_match": {"exact": value}},
    }


def _metadata_value(value: str) -> Json:
    return {"metadata_namespace": METADATA, "key": "model", "value": value}


def _answer(status: int, body: Json) -> Json:
    content_type = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "direct_response": {
            "status": status,
            "body": {"inline_string": json.dumps(body)},
        },
        "response_headers_to_add": [
            {**content_type, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    }


def _refusal(status: int, message: str, parameter: str | None) -> Json:
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": parameter,
        "code": None,
    }
    return _answer(status, {"error": error})
