"""How much one Envoy holds: connections, bodies and heap, all from one number, the memory of its container. Pure.

A body is kept in memory until its `model` is known, and until its answer begins so that it can be sent again. Small
bodies are bounded by the number of connections. Large ones are admitted by number, before anything of them is read
(`components.envoy.door`), so that unfinished ones cannot take the memory of the others.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TYPE = "type.googleapis.com/envoy"
MEMORY_MIB = 1024
"""Memory limit of a gateway's container, and what the limits below add up to on any target."""
CPUS = 1
"""Worker threads, and CPUs that a gateway's container requests."""
BODY_BYTES = 4 * 1024 * 1024
SMALL_BODY_BYTES = 64 * 1024
"""The serving workload's limits of a body, and of one that it does not count (workloads/serving/limits.py)."""
LARGE_BODIES = 96
"""Requests with a larger body than a small one, or one of unknown length, at the same time."""
BASE_BYTES = 96 * 1024 * 1024
"""Memory of an Envoy with no connection: 67 MiB were measured (Envoy 1.40, 2026-12-01)."""
CONNECTION_BYTES = 96 * 1024
"""Memory of a connection and its request beside the body, generously: 40 KiB were measured (same source)."""
HEAP_BYTES = MEMORY_MIB * 1024 * 1024 * 9 // 10
"""The rest is the program itself, stacks, and what grows between two looks at the heap."""
CONNECTIONS = (HEAP_BYTES - BASE_BYTES - LARGE_BODIES * BODY_BYTES) // (SMALL_BODY_BYTES + CONNECTION_BYTES)
"""Connections that a proxy accepts, and requests that it passes on at the same time."""
BUFFER_BYTES = 64 * 1024
"""Bytes that a connection holds in either direction before its sender has to wait."""
ARRIVAL_SECONDS = 30
"""Longest time for a request to arrive: that of the serving workload (workloads/serving/limits.py)."""

_EXTENSIONS = f"{TYPE}.extensions.resource_monitors"
_HEAP = "envoy.resource_monitors.fixed_heap"
_SHRINK_AT, _REFUSE_AT, _ABORT_AT = 0.5, 0.95, 0.98
"""Shares of the heap. The limits keep it below the second; it stands for what they did not foresee."""


def overload_manager() -> Json:
    """Connections by number; free memory is given back; a full heap accepts no request, and then no byte of one."""
    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": CONNECTIONS,
                },
            },
            {
                "name": _HEAP,
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": HEAP_BYTES,
                },
            },
        ],
        "actions": [
            {
                **_at("envoy.overload_actions.shrink_heap", _SHRINK_AT),
                "typed_config": {
                    "@type": f"{TYPE}.config.overload.v3.ShrinkHeapConfig",
                    "timer_interval": "1s",
                },
            },
            _at("envoy.overload_actions.stop_accepting_requests", _REFUSE_AT),
        ],
        "loadshed_points": [_at("envoy.load_shed_points.http1_server_abort_dispatch", _ABORT_AT)],
    }


def circuit_breakers(requests: int = CONNECTIONS) -> Json:
    """Limits of a cluster: as much as its listener lets in, and a retry for every request in flight.

    A retry waits, or runs, for as long as its answer; with the default of three at a time a dead member fails
    everybody else's requests. A storm is bounded by the retries of one request (`routes.RETRIES`), each on another
    member and only where no answer began.
    """
    return {
        "thresholds": [
            {
                "max_connections": CONNECTIONS,
                "max_pending_requests": CONNECTIONS,
                "max_requests": requests,
                "retry_budget": {
                    "budget_percent": {"value": 100.0},
                    "min_retry_concurrency": LEAST_RETRIES,
                },
            }
        ]
    }


LEAST_RETRIES = 256
"""Retries at a time where fewer requests are in flight: those that wait out their back-off are not counted as such."""


def _at(name: str, share: float) -> Json:
    return {"name": name, "triggers": [{"name": _HEAP, "threshold": {"value": share}}]}
