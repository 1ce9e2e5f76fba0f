"""One request and its answer as they are told: every teller (metrics, trace, log) reads this one record.

It holds numbers, our own names and moments. Nothing that a client wrote is in it, and no text of an answer.
"""

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import Scope

if TYPE_CHECKING:
    from workloads.serving.engine import Job
    from workloads.serving.vllm.engine import Passage

CLIENT_LEFT = "client_left"
_KEY = "skerry.exchange"


@dataclass(slots=True)
class Exchange:
    """Moments are seconds of the monotonic clock; None says that it did not come to that."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    began: float = field(default_factory=time.monotonic)
    """The head of the request was there."""
    clock: int = field(default_factory=time.time_ns)
    """The same moment, in nanoseconds since 1970."""
    reached: float | None = None
    """The request was understood, and its model is served here."""
    first: float | None = None
    """The first token was handed on."""
    last: float | None = None
    ended: float = 0.0
    """The answer was handed to the network, or given up."""
    model: str = ""
    version: str = ""
    operation: str = ""
    """As OpenTelemetry calls it: chat, text_completion, embeddings; all three are "" where no model was reached."""
    route: str = "unknown"
    """The pattern of the path, never the path, which is a client's text."""
    status: int = 0
    error: str = ""
    """A code of ours, or an exception's class; "" after success."""
    finish_reason: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    trace_id: str = ""
    """32 hex digits of the trace that this belongs to, where there is one."""
    job: "Job | Passage | None" = None

    def reach(self, model: str, version: str, operation: str) -> None:
        """Note which model takes the request."""
        self.model, self.version, self.operation = model, version, operation
        self.reached = time.monotonic()

    def token(self, tokens: int) -> float | None:
        """Note that `tokens` tokens exist by now. Seconds since the one before, where there is a pair."""
        if tokens == self.output_tokens:
            return None
        before, self.last, self.output_tokens = self.last, time.monotonic(), tokens
        if before is None:
            self.first = self.last
            return None
        return self.last - before

    def at(self, moment: float) -> int:
        """A moment in nanoseconds since 1970."""
        return self.clock + int((moment - self.began) * 1e9)

    def fail(self, error: str) -> None:
        """Note why there is no whole answer; the first reason counts, others follow from it."""
        self.error = self.error or error

    def end(self, route: str, status: int) -> None:
        self.ended, self.route, self.status = time.monotonic(), route, status


def begin(scope: Scope) -> Exchange:
    """A new record, kept in `scope` for the routes."""
    scope[_KEY] = Exchange()
    return scope[_KEY]


def exchange(request: Request) -> Exchange:
    """The record of `request`."""
    return request.scope[_KEY]
