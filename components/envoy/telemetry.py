"""What a proxy reports of itself: a line of JSON per request, and statistics for Prometheus. Pure."""

from __future__ import annotations

from components.envoy.limits import TYPE, Json

STATISTICS_PORT = 9901
"""Where a gateway answers scrapers with statistics, and with nothing else of Envoy's administration interface."""
STATISTICS_PATH = "/stats/prometheus"
LONGEST_LOGGED = 256
"""Bytes of a path in the log."""
UNSEEN = "response.code_details != 'via_upstream'"
"""Requests that ended at the door: the others are logged by the listener behind it, which knows the service."""
FIELDS = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "path": f"%PATH(NQ:PATH):{LONGEST_LOGGED}%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "service": "%UPSTREAM_CLUSTER%",
    "replica": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "milliseconds": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""Nothing here is a header or a body that a client chose, but for the path (without its query) and the request's id."""


def access_log(expression: str | None = None) -> list[Json]:
    """A line of JSON per request on stdout, health checks left out.

    Args:
        expression: CEL that a request must match to be logged; None for every one.
    """
    chosen: list[Json] = [{"not_health_check_filter": {}}]
    if expression is not None:
        cel = f"{TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
        chosen.append(
            {
                "extension_filter": {
                    "name": "chosen",
                    "typed_config": {"@type": cel, "expression": expression},
                }
            }
        )
    return [
        {
            "name": "requests",
            "filter": chosen[0] if len(chosen) == 1 else {"and_filter": {"filters": chosen}},
            "typed_config": {
                "@type": f"{TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": {"json_format": FIELDS},
            },
        }
    ]


def statistics(address: str) -> Json:
    """Envoy's administration interface on a port, of which it answers one path: statistics for Prometheus."""
    return {
        "address": {"socket_address": {"address": address, "port_value": STATISTICS_PORT}},
        "allow_paths": [{"exact": STATISTICS_PATH}],
        "ignore_global_conn_limit": True,
    }
