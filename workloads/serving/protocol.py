"""What every wire format here shares: errors that teach, and reading a JSON body field by field."""

import json
from collections.abc import Mapping
from typing import Any

FULL_HEADER = "x-skerry-full"
"""Of a refusal that another replica may not have to make. A proxy in front can tell it from that of a caller who asks
too often, which no replica should answer otherwise."""
ECHOED = 100  # characters of what a client sent, at most, in a refusal


class ApiError(Exception):
    """An answer with an OpenAI-shaped error body: HTTP `status`, message, and the field it is about.

    `code` is one of few words, for programs and for those who count errors. A gateway in front uses the same word for
    the same fault.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        *,
        code: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def json_object(raw: bytes) -> dict[str, Any]:
    """The object that a request's body is. Raises ApiError(400)."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(
            400, f"the body is not JSON ({error}); send one JSON object", code="invalid_json"
        ) from error
    if not isinstance(body, dict):
        raise ApiError(
            400, f"the body is {kind(body)}, not an object; send one JSON object", code="invalid_json"
        )
    return body


def whole_text(field: str, value: str) -> str:
    """`value`. Refuses half of a surrogate pair: JSON can spell it, but it is no character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"{field} holds half a surrogate pair (\\ud800 to \\udfff); send whole characters"
        raise ApiError(400, message, field, code="invalid_value") from None
    return value


def number(body: dict[str, Any], field: str, default: float, low: float, high: float) -> float:
    value = body.get(field)
    if value is None:
        return default
    if type(value) not in (int, float) or not low <= value <= high:
        raise wrong(field, value, f"a number from {low:g} to {high:g}")
    return float(value)


def whole(body: dict[str, Any], field: str, low: int, high: int) -> int | None:
    value = body.get(field)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise wrong(field, value, f"a whole number from {low} to {high}")
    return value


def flag(body: dict[str, Any], field: str) -> bool:
    value = body.get(field)
    if value is not None and type(value) is not bool:
        raise wrong(field, value, "true or false")
    return bool(value)


def refuse(body: Mapping[str, Any], neutral: Mapping[str, tuple[object, ...]], where: str = "") -> None:
    """Raises ApiError(400) for a field that is set to something else than its neutral values."""
    for field, fine in neutral.items():
        value = body.get(field)
        if value is not None and not any(value == one and kind(value) == kind(one) for one in fine):
            name = where + field
            message = f"{name} is {given(value)}, which this server cannot honour; leave {name} out"
            raise ApiError(400, message, name, code="unsupported_field")


def wrong(field: str, value: object, rule: str) -> ApiError:
    """Names the kind of a text value, never the text: prompts do not belong in a client's error log."""
    return ApiError(400, f"{field} is {given(value)}; it must be {rule}", field, code="invalid_value")


def not_ready(why: str, headers: dict[str, str] | None = None) -> ApiError:
    """The refusal of a server that does not answer yet, or no more."""
    message = f"this server is {why}; try another replica"
    return ApiError(503, message, code="not_ready", headers=headers)


def queue_full() -> ApiError:
    """The refusal where no place is free."""
    message = "as many requests wait here as may; try again in a second, or another replica"
    return ApiError(429, message, code="queue_full", headers={"retry-after": "1", FULL_HEADER: "1"})


def cut(text: str) -> str:
    """A name as a refusal may tell it: its beginning."""
    return text if len(text) <= ECHOED else text[:ECHOED] + "…"


def given(value: object) -> str:
    """A value as a refusal may tell it: a number itself, of all else what it is."""
    if isinstance(value, list | dict):
        return f"{kind(value)} of {len(value)}"
    return json.dumps(value) if value is None or isinstance(value, int | float) else kind(value)


def kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
