"""A trace of each request for an OpenTelemetry collector, where OTEL_EXPORTER_OTLP_ENDPOINT names one.

Spans are made when an answer is over, out of the moments that its exchange noted, and leave by a thread of their own
with a bounded queue: no answer waits for them. What a collector does not take is counted.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from workloads.serving.engine import Job
from workloads.serving.exchange import CLIENT_LEFT, Exchange
from workloads.serving.metrics import PROVIDER

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
CLOSE_SECONDS = 1.0  # for the last spans, when the last answer is out; a collector that fails gets none


class Traces:
    """Makes spans; `count(outcome, spans)` is told made, sent and lost ones."""

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self._count = count
        self._provider: Any = None  # its library is imported only where it is used
        if not os.environ.get(ENDPOINT):
            return
        from workloads.serving.trace_export import provider

        self._provider, self._exporter = provider(ENDPOINT, count)
        self._tracer = self._provider.get_tracer("skerry.serving")

    def hear(self, told: Exchange, scope: Scope) -> None:
        """Note the trace of an exchange that has ended in it, and make its spans: one, and one for each part."""
        sent = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        # not the tracestate: it is free text, and nothing is called in turn
        parent = TraceContextTextMapPropagator().extract({"traceparent": sent.get("traceparent", "")})
        context = get_current_span(parent).get_span_context()
        if self._provider is not None and scope["method"] == "POST":
            context = self._spans(told, parent)
        if context.is_valid:
            told.trace_id = f"{context.trace_id:032x}"

    def close(self) -> None:
        """Send what is left, for a moment at most."""
        if self._provider is None or self._exporter.failing:
            return
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(CLOSE_SECONDS)

    def _spans(self, told: Exchange, parent: Any) -> Any:
        name = f"{told.operation} {told.model}" if told.model else f"POST {told.route}"
        span = self._tracer.start_span(
            name, parent, SpanKind.SERVER, _attributes(told), start_time=told.at(told.began)
        )
        inside = set_span_in_context(span)
        parts = [part for part in _parts(told) if span.is_recording()]
        for part, start, end in parts:
            self._tracer.start_span(part, inside, start_time=told.at(start)).end(told.at(end))
        if told.error not in ("", CLIENT_LEFT) and not 400 <= told.status < 500:
            span.set_status(Status(StatusCode.ERROR))
        if span.is_recording():
            self._count("made", 1 + len(parts))
        span.end(told.at(told.ended))
        return span.get_span_context()


def _attributes(told: Exchange) -> dict[str, Any]:
    """Those of the GenAI and HTTP conventions, without the content that the former would allow."""
    found = {
        "http.request.method": "POST",
        "http.route": told.route,
        "http.response.status_code": told.status,
        "error.type": told.error,
        "gen_ai.operation.name": told.operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": told.model,
        "gen_ai.usage.input_tokens": told.prompt_tokens,
        "gen_ai.usage.output_tokens": told.output_tokens,
        "gen_ai.response.finish_reasons": [told.finish_reason] if told.finish_reason else None,
        "skerry.model.version": told.version,
        "skerry.request.id": told.id,
    }
    return {key: value for key, value in found.items() if value}


def _parts(told: Exchange) -> list[tuple[str, float, float]]:
    """What became of a request in the engine; a part that was not reached is missing."""
    if not isinstance(told.job, Job) or told.reached is None:  # vLLM does not say when it lets a request in
        return []
    edges = [told.reached, told.job.admitted, told.first, told.last]
    parts = []
    for name, start, end in zip(("queue", "prefill", "decode"), edges, edges[1:], strict=False):
        if start is not None:
            parts.append((name, start, told.ended if end is None else end))
    return parts
