"""Errors that Envoy answers itself, in the API's format: `{"error": {"message", "type", "param", "code"}}`. Pure.

The codes are those of the serving workload for the same faults (workloads/serving/protocol.py); none is null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.envoy.limits import ARRIVAL_SECONDS, BODY_BYTES, TYPE

Json = dict[str, Any]

DIRECT = "response.code_details == 'direct_response'"


@dataclass(frozen=True)
class Fault:
    """One row: replies with a status within `statuses`, or with one of Envoy's response flags, get this code."""

    code: str
    message: str
    statuses: tuple[int, int] | None = None
    flags: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def type(self) -> str:
        client = self.statuses is not None and self.statuses[1] < 500
        return "invalid_request_error" if client else "server_error"


FAULTS = (
    Fault(
        "timeout",
        "The answer took longer than this endpoint allows. Lower max_tokens, or send `stream`: true.",
        (504, 504),
        ("UT", "SI", "DT"),
    ),
    Fault(
        "request_timeout",
        f"The request did not arrive within {ARRIVAL_SECONDS} seconds. Send it faster.",
        (408, 408),
    ),
    Fault(
        "request_too_large",
        f"The body is larger than {BODY_BYTES} bytes. Send a shorter prompt.",
        (413, 413),
    ),
    Fault("headers_too_large", "The headers are larger than this endpoint accepts.", (431, 431)),
    Fault(
        "overloaded",
        "This endpoint holds as many requests as it can. Try again in a second.",
        None,
        ("UO", "OM"),
        {"retry-after": "1"},
    ),
    Fault(
        "not_ready", "No replica could answer. Try again.", (500, 599), ("UH", "UF", "UC", "UR", "NC", "URX")
    ),
    Fault("invalid_request", "The request is not valid HTTP for this endpoint.", (400, 499)),
)
"""Order matters: the first row that matches is used."""


def local_replies() -> Json:
    """Envoy's own replies in the API's format. A direct response is one already."""
    cel = f"{TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    direct = {
        "filter": {
            "extension_filter": {
                "name": "direct",
                "typed_config": {"@type": cel, "expression": DIRECT},
            }
        }
    }
    return {"mappers": [direct, *map(_mapper, FAULTS)]}


def error(message: str, type_: str, code: str, param: str | None = None) -> Json:
    """Body of an error."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def refusal(status: int, message: str, code: str, param: str | None = None, **headers: str) -> Json:
    """A route's action: answer at once with an error of the client's."""
    return answer(status, error(message, "invalid_request_error", code, param), **headers)


def answer(status: int, body: Json, **headers: str) -> Json:
    """A route's action: answer at once with JSON."""
    return {
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(body)}},
        "response_headers_to_add": _headers({"content-type": "application/json", **headers}),
    }


def _mapper(fault: Fault) -> Json:
    filters: list[Json] = []
    if fault.flags:
        filters.append({"response_flag_filter": {"flags": list(fault.flags)}})
    if fault.statuses:
        low, high = fault.statuses
        filters.append({"and_filter": {"filters": [_status("GE", low), _status("LE", high)]}})
    return {
        "filter": filters[0] if len(filters) == 1 else {"or_filter": {"filters": filters}},
        "body_format_override": {"json_format": error(fault.message, fault.type, fault.code)},
        "headers_to_add": _headers(fault.headers),
    }


def _status(operator: str, value: int) -> Json:
    compared = {"default_value": value, "runtime_key": "none"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": compared}}}


def _headers(given: Mapping[str, str]) -> Sequence[Json]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in given.items()
    ]
