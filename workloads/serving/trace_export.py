"""Where spans go: the OpenTelemetry SDK's queue and exporter, counted. Imported only where a collector is named."""

import logging
import os
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from workloads.serving.log import say


def provider(endpoint: str, count: Callable[[str, int], None]) -> tuple[TracerProvider, "Counted"]:
    """What makes spans and sends them from a thread of its own, to where the variable called `endpoint` says."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # `Counted` says it, once
    exporter = Counted(endpoint, OTLPSpanExporter(), count)
    named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "skerry-serving")}
    made = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made, exporter


class Counted(SpanExporter):
    """An exporter that counts, and says once when a collector begins to fail and once when it is back."""

    def __init__(self, endpoint: str, exporter: SpanExporter, count: Callable[[str, int], None]) -> None:
        self._endpoint = endpoint
        self._exporter = exporter
        self._count = count
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        self._count("lost" if failed else "sent", len(spans))
        if failed and not self.failing:
            why = f"{self._endpoint}: the collector takes no spans; answers go on without traces"
            say(why, "traces_lost", logging.WARNING)
        if self.failing and not failed:
            say("the collector takes spans again", "traces_sent")
        self.failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
