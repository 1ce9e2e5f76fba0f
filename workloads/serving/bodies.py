"""The body of a request, within a size, a time, and the memory that all bodies together may take."""

from contextlib import ExitStack

from fastapi import Request

from workloads.serving.limits import Limits
from workloads.serving.models import Models
from workloads.serving.protocol import ApiError, not_ready


async def body(request: Request, models: Models) -> bytes:
    """The whole body. Raises ApiError: 413 where it is too large, 408 where it does not come, 429 where too many large
    ones come at the same time, 503 where the server is about to end."""
    raw, limits = bytearray(), models.limits
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    try:
        with ExitStack() as held:
            async with models.receiving():
                async for part in request.stream():
                    small = len(raw) <= limits.small_body_bytes
                    raw += part
                    if len(raw) > limits.body_bytes:
                        raise _too_large(limits)
                    if small and len(raw) > limits.small_body_bytes:
                        held.enter_context(models.large_body())
    except TimeoutError:
        if models.draining:
            raise not_ready("shutting down", headers={"connection": "close"}) from None
        message = f"the body did not arrive within {limits.body_seconds:g} seconds; send it faster"
        raise ApiError(408, message, code="request_timeout", headers={"connection": "close"}) from None
    return bytes(raw)


def _too_large(limits: Limits) -> ApiError:
    message = f"the body is larger than {limits.body_bytes} bytes; send a shorter prompt"
    return ApiError(413, message, code="request_too_large", headers={"connection": "close"})
