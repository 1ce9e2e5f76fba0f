"""What Envoy does with a request, as plain data: the cluster that gets it, or an answer at once. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.settings.items import EndpointSettings

Json = dict[str, Any]

TYPE = "type.googleapis.com/envoy"
METADATA = "skerry.request"
NOT_JSON, NO_MODEL = "(not json)", "(no model)"  # no service can be called so
RETRIES = 2
REPLICAS_TRIED, REGIONS_TRIED = 5, 2000
"""How often a retry draws a member until it is a new one. Regions are drawn in turn by their weights, which are
thousandths: within so many draws each comes, however small its share is."""


def region_routes(services: Mapping[str, str], endpoint: EndpointSettings) -> list[Json]:
    """Requests by the `model` of their body. services: model name -> cluster."""
    by_model = [
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is(model)]},
            "route": _to_cluster(cluster, endpoint, REPLICAS_TRIED),
        }
        for model, cluster in services.items()
    ]
    by_path = [
        {
            "match": {"path": f"/v1/models/{model}"},
            "route": _to_cluster(cluster, endpoint, REPLICAS_TRIED),
        }
        for model, cluster in services.items()
    ]
    listing = {
        "object": "list",
        "data": [{"id": model, "object": "model", "owned_by": "skerry"} for model in services],
    }
    names = ", ".join(services) or "none"
    return [
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


def regions_routes(cluster: str, endpoint: EndpointSettings) -> list[Json]:
    """Everything to the regions. One that lacks the service answers 503 at once, and the next is tried. The last try
    goes to those that stand by with dial 0: by health checks alone they would take over only seconds after the others
    failed."""
    route = _to_cluster(cluster, endpoint, REGIONS_TRIED)
    route["retry_policy"]["retry_priority"] = {
        "name": "previous_priorities",
        "typed_config": {
            "@type": f"{TYPE}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": RETRIES,
        },
    }
    return [{"match": {"prefix": "/"}, "route": route}]


def _to_cluster(cluster: str, endpoint: EndpointSettings, draws: int) -> Json:
    return {
        "cluster": cluster,
        "timeout": f"{endpoint.request_timeout_seconds}s",
        "idle_timeout": f"{endpoint.idle_timeout_seconds}s",
        "retry_policy": {
            # Only failures before an answer began, and only elsewhere: a broken stream is never begun again.
            "retry_on": "connect-failure,refused-stream,reset-before-request,gateway-error",
            "num_retries": RETRIES,
            "retry_host_predicate": [
                {
                    "name": "previous_hosts",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": draws,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        },
    }


def _metadata_is(value: str) -> Json:
    return {
        "filter": METADATA,
        "path": [{"key": "model"}],
        "value": {"string_match": {"exact": value}},
    }


def _answer(status: int, body: Json) -> Json:
    content_type = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "direct_response": {
            "status": status,
            "body": {"inline_string": json.dumps(body)},
        },
        "response_headers_to_add": [{**content_type, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _refusal(status: int, message: str, parameter: str | None) -> Json:
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": parameter,
        "code": None,
    }
    return _answer(status, {"error": error})
