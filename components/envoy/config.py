"""Envoy's configuration as plain data. Pure: the callers write it where Envoy finds it.

A region's Envoy chooses the service by the `model` in the request's body and spreads over replicas; a global one
spreads over regions and fails over. Where listeners and clusters come from watched files, neither a new replica nor a
new dial restarts a proxy or cuts an answer; where replicas stand behind a name, DNS says which there are.

A region has two listeners. The door is what callers reach: it reads no body, and admits large ones by number. It passes
requests to the inner listener of the same process, which reads `model` and `stream` from the body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts import HEALTH_PATH
from components.envoy import telemetry
from components.envoy.clusters import (
    ANY_SERVICE,
    MODELS,
    READY_PATH,
    REGIONS_CLUSTER,
    Address,
    region_clusters,
    regions_cluster,
    service_cluster,
    socket,
)
from components.envoy.errors import local_replies
from components.envoy.limits import (
    ARRIVAL_SECONDS,
    BODY_BYTES,
    BUFFER_BYTES,
    SMALL_BODY_BYTES,
    TYPE,
    Json,
    overload_manager,
)
from components.envoy.routes import (
    BODY_FILTER,
    METADATA,
    NO_MODEL,
    NOT_JSON,
    door_routes,
    region_routes,
    regions_routes,
)
from components.settings.items import EndpointSettings

__all__ = [
    "READY_PATH",
    "Address",
    "Json",
    "region_clusters",
    "regions_cluster",
    "service_cluster",
]

ANY_MEMBER = {"value": 1}  # per cent, which Envoy takes whole: one of up to 100 members is enough
FRONT_KEEPS_SECONDS = 600
"""For which a load balancer in front may keep a connection without a request (GFE to backends: Google, "Request
distribution", read 2026-12-01; that of an Application Load Balancer is shorter: components/aws/load_balancer.py)."""
LATER_SECONDS = 20
"""By which the door is more patient than what stands before and behind it, so that the others' reasons are told."""


def bootstrap(node: str, listeners: str, clusters: str, admin_socket: str) -> Json:
    """What Envoy starts with: two files to watch, and an administration socket that only the owner opens."""

    def watched(path: str) -> Json:
        return {"path_config_source": {"path": path}, "resource_api_version": "V3"}

    return {
        **_started(node),
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": watched(listeners),
            "cds_config": watched(clusters),
        },
    }


def fixed_bootstrap(node: str, listeners: Sequence[Json], clusters: Sequence[Json]) -> Json:
    """What Envoy starts with where another configuration is another process. It answers scrapers on a port of every
    address; a network policy says who they are."""
    return {
        **_started(node),
        "admin": telemetry.statistics("0.0.0.0"),
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
    }


def region_listeners(
    address: Address,
    services: Mapping[str, str],
    endpoint: EndpointSettings,
    *,
    hops: int,
    silence_seconds: int | None = None,
    connection_seconds: int | None = None,
) -> list[Json]:
    """Listeners of a region: the door and the inner one.

    Args:
        address: where the door listens.
        services: model name -> cluster.
        endpoint: time-outs.
        hops: addresses that the load balancer in front appends to `X-Forwarded-For`.
        silence_seconds: after which the load balancer in front forgets a connection without a byte; None for never.
        connection_seconds: after which a caller is asked, with an answer, to connect anew; None for never. Whoever
            stands in front and keeps connections follows a change of proxies only so.
    """
    healthy = {ANY_SERVICE: ANY_MEMBER} if services else {}
    # Of any service: a region that lacks one still serves the others.
    door = _manager(
        "door",
        [_health(healthy)],
        door_routes(_patience(endpoint)),
        endpoint,
        access_log=telemetry.access_log(telemetry.UNSEEN),
        **_edge(endpoint, hops, connection_seconds),
    )
    inner = _manager(
        "http",
        [_body_filter()],
        region_routes(services, endpoint, silence_seconds),
        endpoint,
        body_bytes=BODY_BYTES,
        access_log=telemetry.access_log(),
        xff_num_trusted_hops=hops,
        common_http_protocol_options={"idle_timeout": f"{_kept(endpoint)}s"},
    )
    return [
        {"name": "http", "address": socket(address), **_listener(door)},
        {"name": MODELS, "internal_listener": {}, **_listener(inner)},
    ]


def global_listener(address: Address, endpoint: EndpointSettings) -> Json:
    """Listener of the global load balancer: everything goes to a region, or to another if that fails. It cannot tell a
    streamed answer from another; a large body is passed on as it comes, and so is not sent to a second region."""
    manager = _manager(
        "http",
        [_health({REGIONS_CLUSTER: ANY_MEMBER})],
        regions_routes(REGIONS_CLUSTER, _patience(endpoint), endpoint),
        endpoint,
        body_bytes=SMALL_BODY_BYTES,
        access_log=telemetry.access_log(),
        **_edge(endpoint, hops=0),
    )
    return {"name": "http", "address": socket(address), **_listener(manager)}


def discovery(kind: str, resources: Sequence[Json]) -> str:
    """A file of Envoy's discovery service. kind: `listener.v3.Listener` or `cluster.v3.Cluster`."""
    typed = [{"@type": f"{TYPE}.config.{kind}", **resource} for resource in resources]
    return json.dumps({"resources": typed}, indent=1, sort_keys=True) + "\n"


def _started(node: str) -> Json:
    internal = f"{TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {
        "node": {"id": node, "cluster": "skerry"},
        "overload_manager": overload_manager(),
        "bootstrap_extensions": [
            {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": internal}}
        ],
    }


def _edge(endpoint: EndpointSettings, hops: int, connection_seconds: int | None = None) -> Json:
    """Options of a listener that callers reach: who they are, how long they may take, and what they are not told."""
    kept: Json = {"idle_timeout": f"{_kept(endpoint)}s"}
    if connection_seconds is not None:
        kept["max_connection_duration"] = f"{connection_seconds}s"
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": hops,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_timeout": f"{ARRIVAL_SECONDS}s",
        "request_headers_timeout": "10s",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": kept,
        # With its next answer, and never between two requests: the second one would be lost.
        "http1_safe_max_connection_duration": True,
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": BUFFER_BYTES,
            "initial_connection_window_size": 16 * BUFFER_BYTES,
        },
    }


def _manager(
    prefix: str,
    filters: list[Json],
    routes: list[Json],
    endpoint: EndpointSettings,
    body_bytes: int = BUFFER_BYTES,
    **more: Any,
) -> Json:
    """An HTTP connection manager. body_bytes: most that is held of a body beyond what a connection may hold."""
    router = {
        "@type": f"{TYPE}.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": True,
    }
    return {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "stream_idle_timeout": f"{_patience(endpoint)}s",
        "drain_timeout": f"{endpoint.drain}s",
        "local_reply_config": local_replies(),
        "http_filters": [*filters, {"name": "router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": routes,
                    "request_body_buffer_limit": body_bytes,
                }
            ],
            "validate_clusters": False,
            "response_headers_to_remove": ["server"],
        },
        **more,
    }


def _listener(manager: Json) -> Json:
    return {
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _patience(endpoint: EndpointSettings) -> int:
    """Seconds without a byte after which nothing that is still awaited can come."""
    return max(endpoint.request_timeout_seconds, endpoint.idle_timeout_seconds) + LATER_SECONDS


def _kept(endpoint: EndpointSettings) -> int:
    """Seconds for which a connection without a request is kept: longer than whoever stands in front keeps it."""
    return max(FRONT_KEEPS_SECONDS, _patience(endpoint)) + LATER_SECONDS


def _health(clusters: Mapping[str, Json]) -> Json:
    return {
        "name": "health",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
            "cluster_min_healthy_percentages": dict(clusters),
        },
    }


def _body_filter() -> Json:
    """Reads `model` and `stream` of the body for the routes."""

    def value(key: str, given: str | bool) -> Json:
        return {"metadata_namespace": METADATA, "key": key, "value": given}

    return {
        "name": BODY_FILTER,
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
            "request_rules": {
                "rules": [
                    {
                        "selectors": [{"key": "model"}],
                        "on_present": {"metadata_namespace": METADATA, "key": "model"},
                        "on_missing": value("model", NO_MODEL),
                        "on_error": value("model", NOT_JSON),
                    },
                    {
                        "selectors": [{"key": "stream"}],
                        "on_present": {"metadata_namespace": METADATA, "key": "stream"},
                        "on_missing": value("stream", False),
                        "on_error": value("stream", False),
                    },
                ],
                "allow_empty_content_type": True,
                "allow_content_types_regex": {"regex": ".*"},
            },
        },
    }
