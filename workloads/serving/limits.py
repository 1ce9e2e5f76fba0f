"""What one request, and one caller, may take."""

from dataclasses import dataclass

from workloads.serving.protocol import ApiError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server."""

    answer_seconds: float = 600.0
    """From the accepted request to its last token; waiting counts. Longer than any answer that someone reads."""
    answer_tokens: int | None = None
    """Most new tokens of one request; None leaves it to the context and the cache."""
    body_seconds: float = 30.0
    """For a body to arrive: a slow line manages, a client that trickles does not hold a request open for ever."""
    body_bytes: int = 4 * 1024 * 1024
    """Far above any prompt that fits a context, far below what could hurt."""
    small_body_bytes: int = 64 * 1024
    """What every body may take while it arrives: most requests are smaller."""
    large_bodies: int = 16
    """As many larger ones may arrive at the same time: what they take together is bounded before any queue is."""

    def check_tokens(self, tokens: int) -> None:
        """Raises ApiError(400) for an answer that is longer than one may be."""
        if self.answer_tokens is not None and tokens > self.answer_tokens:
            raise ApiError(
                400,
                f"max_tokens is {tokens}; this server gives at most {self.answer_tokens} in one answer; "
                "ask for no more",
                "max_tokens",
                code="invalid_value",
            )
