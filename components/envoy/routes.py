"""What Envoy does with a request, as plain data: the cluster that gets it, or an answer at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.envoy.clusters import LARGE, SMALL
from components.envoy.errors import answer, refusal
from components.envoy.limits import BODY_BYTES, SMALL_BODY_BYTES, TYPE, Json
from components.settings.items import EndpointSettings

METADATA = "skerry.request"
BODY_FILTER = "model"
NOT_JSON, NO_MODEL = "(not json)", "(no model)"  # no service can be called so
POSTED = ("/v1/completions", "/v1/chat/completions", "/v1/embeddings")
MODELS = "/v1/models"
READING, POSTING = "GET, HEAD", "POST"
UNREAD = "_unread"
"""No cluster: what a request matches before its body is read, since a direct answer has no limit of a body."""
FULL_HEADER = "x-skerry-full"
"""Of a refusal because every place of a replica is taken (workloads/serving/protocol.py). A refusal because a caller's
own limit is reached does not have it: another replica would let the caller go beyond it."""
RETRIES = 2
RETRIED_STATUSES = [502, 503]
"""Not 504: what took too long once would take as long again."""
REPLICAS_TRIED, REGIONS_TRIED = 5, 2000
"""How often a retry draws a member until it is a new one. Regions are drawn in turn by their weights, which are
thousandths: within so many draws each comes, however small its share is."""
LONGEST_LENGTH = 2**63 - 1


def door_routes(patience: int) -> list[Json]:
    """Requests by the length of their body; nothing of it is read. patience: seconds without a byte."""

    def to(cluster: str) -> Json:
        return {"route": {"cluster": cluster, "timeout": "0s", "idle_timeout": f"{patience}s"}}

    def length(low: int, high: int) -> Json:
        """Lengths from `low` up to, but not including, `high`."""
        return {"name": "content-length", "range_match": {"start": low, "end": high}}

    bodiless = [_method("GET|HEAD"), {"name": "content-length", "present_match": True, "invert_match": True}]
    return [
        {
            "match": {"prefix": "/", "headers": [length(BODY_BYTES + 1, LONGEST_LENGTH)]},
            **refusal(
                413,
                f"The body is larger than {BODY_BYTES} bytes. Send a shorter prompt.",
                "request_too_large",
            ),
        },
        {"match": {"prefix": "/", "headers": [length(0, SMALL_BODY_BYTES + 1)]}, **to(SMALL)},
        {"match": {"prefix": "/", "headers": bodiless}, **to(SMALL)},
        {"match": {"prefix": "/"}, **to(LARGE)},
    ]


def region_routes(
    services: Mapping[str, str], endpoint: EndpointSettings, silence_seconds: int | None = None
) -> list[Json]:
    """Requests by their path, and by the `model` and `stream` of their body.

    Args:
        services: model name -> cluster.
        endpoint: time-outs.
        silence_seconds: after which the load balancer in front forgets a connection without a byte; None for never.
    """
    names = ", ".join(services) or "none"
    unknown = refusal(404, f"No such model. This endpoint serves: {names}.", "model_not_found", "model")
    return [
        *map(_without_body, _bodiless_routes(services, endpoint, unknown)),
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is("model", NOT_JSON)]},
            **refusal(400, "The body is not valid JSON. Send a JSON object.", "invalid_json"),
        },
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is("model", NO_MODEL)]},
            **refusal(400, f"`model` is missing. Name one of: {names}.", "invalid_value", "model"),
        },
        *_by_model(services, endpoint, silence_seconds),
        {"match": {"prefix": "/v1/", "dynamic_metadata": [_unread()]}, "route": {"cluster": UNREAD}},
        {"match": {"prefix": "/v1/"}, **unknown},
        {"match": {"prefix": "/"}, **refusal(404, "No such path. Try /v1/models.", "not_found")},
    ]


def regions_routes(cluster: str, patience: int, endpoint: EndpointSettings) -> list[Json]:
    """Everything to the regions. One that lacks the service answers 503 at once, and the next is tried; so is it where
    one is full. The last try goes to those that stand by with dial 0: by health checks alone they would take over only
    seconds after the others failed.

    A region gives up after the longest answer, so this waits longer. patience: seconds without a byte."""
    route = _to_cluster(cluster, endpoint.request_timeout_seconds + 5, patience, REGIONS_TRIED)
    retries = route["retry_policy"]
    retries["retry_on"] += ",retriable-headers"
    retries["retriable_headers"] = [{"name": FULL_HEADER, "present_match": True}]
    retries["retry_priority"] = {
        "name": "previous_priorities",
        "typed_config": {
            "@type": f"{TYPE}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": RETRIES,
        },
    }
    return [{"match": {"prefix": "/"}, "route": route}]


def _bodiless_routes(
    services: Mapping[str, str], endpoint: EndpointSettings, unknown: Json
) -> Sequence[Json]:
    """What is answered without a look at a body."""
    listing = {
        "object": "list",
        "data": [{"id": model, "object": "model", "owned_by": "skerry"} for model in services],
    }
    reading, not_reading = [_method("GET|HEAD")], [_method("GET|HEAD", other=True)]
    longest = endpoint.request_timeout_seconds
    return [
        *(
            {
                "match": {"path": f"{MODELS}/{model}", "headers": reading},
                "route": _to_cluster(cluster, longest, longest, REPLICAS_TRIED),
            }
            for model, cluster in services.items()
        ),
        {"match": {"path": MODELS, "headers": reading}, **answer(200, listing)},
        {"match": {"prefix": f"{MODELS}/", "headers": reading}, **unknown},
        *(
            {"match": {"path": path, "headers": [_method("POST", other=True)]}, **_only(POSTING)}
            for path in POSTED
        ),
        {"match": {"path": MODELS, "headers": not_reading}, **_only(READING)},
        {"match": {"prefix": f"{MODELS}/", "headers": not_reading}, **_only(READING)},
        {
            "match": {"prefix": "/", "headers": reading},
            **refusal(404, "No such path. Try /v1/models.", "not_found"),
        },
    ]


def _by_model(
    services: Mapping[str, str], endpoint: EndpointSettings, silence_seconds: int | None
) -> Sequence[Json]:
    """Two routes a model: only an answer that streams can pause, as any other has no byte before its end."""
    longest = endpoint.request_timeout_seconds
    whole = endpoint.whole_answer_seconds(silence_seconds)
    return [
        {
            "match": {"prefix": "/v1/", "dynamic_metadata": [_metadata_is("model", model), *streams]},
            "route": _to_cluster(cluster, seconds, pause, REPLICAS_TRIED),
        }
        for model, cluster in services.items()
        for streams, seconds, pause in (
            ([_metadata_is("stream", True)], longest, endpoint.idle_timeout_seconds),
            ([], whole, whole),
        )
    ]


def _to_cluster(cluster: str, seconds: int, pause: int, draws: int) -> Json:
    """A route to a cluster.

    Args:
        cluster: its name.
        seconds: longest answer.
        pause: longest time without a byte, in seconds.
        draws: how often a retry draws a member until it is a new one.
    """
    return {
        "cluster": cluster,
        "timeout": f"{seconds}s",
        "idle_timeout": f"{pause}s",
        "retry_policy": {
            # Only before an answer began, and only elsewhere: a broken stream is never begun again.
            "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
            "retriable_status_codes": RETRIED_STATUSES,
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
            "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
        },
    }


def _without_body(route: Json) -> Json:
    """The route with the filter off that holds a body: its match needs none."""
    off = {"@type": f"{TYPE}.config.route.v3.FilterConfig", "disabled": True}
    return {**route, "typed_per_filter_config": {BODY_FILTER: off}}


def _only(methods: str) -> Json:
    return refusal(405, f"Only {methods} is allowed here.", "method_not_allowed", allow=methods)


def _method(pattern: str, other: bool = False) -> Json:
    matched = {"safe_regex": {"regex": pattern}}
    return {"name": ":method", "string_match": matched, "invert_match": other}


def _unread() -> Json:
    present = {"filter": METADATA, "path": [{"key": "model"}], "value": {"present_match": True}}
    return {**present, "invert": True}


def _metadata_is(key: str, value: str | bool) -> Json:
    matched = {"bool_match": value} if isinstance(value, bool) else {"string_match": {"exact": value}}
    return {"filter": METADATA, "path": [{"key": key}], "value": matched}
