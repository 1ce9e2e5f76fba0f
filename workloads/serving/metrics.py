"""What the server tells Prometheus. Names: decision 0018; meanings and units: docs/how-to/watch-a-served-model.md.

Labels are the served name, the version and words of our own; never anything that a client wrote.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workloads.serving.exchange import Exchange
from workloads.serving.terms import Counts

PROVIDER = "skerry"  # gen_ai.provider.name: whose format this is
MODEL = ("model", "version")
GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "version")

# Boundaries that OpenTelemetry's GenAI conventions ask for (semantic-conventions, gen-ai-metrics.md, read 2026-11-25).
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**power) for power in range(14))


class Numbers(Protocol):
    """Where a model's work can be read at any time: plain reads, so that a scrape never holds a step up."""

    def waiting(self) -> int: ...
    def running(self) -> int: ...
    def cache_usage(self) -> float: ...
    def cache_blocks(self) -> int: ...
    def block_tokens(self) -> int: ...
    def counts(self) -> Counts: ...


GAUGES: dict[str, tuple[str, Callable[[Numbers], float]]] = {
    "skerry_requests_waiting": ("Requests in the queue", lambda numbers: numbers.waiting()),
    "skerry_requests_running": ("Requests being answered", lambda numbers: numbers.running()),
    "skerry_kv_cache_usage_ratio": (
        "Share of the key/value cache that running requests hold, 0 to 1",
        lambda numbers: numbers.cache_usage(),
    ),
}
COUNTERS = {
    # field of Counts: (name, help)
    "prompt_tokens": ("skerry_prompt_tokens", "Tokens of prompts that were let in"),
    "prefix_tokens": ("skerry_prefix_cache_tokens", "Of these, found in the cache"),
    "prefill_tokens": ("skerry_prefill_tokens", "Of these, computed so far"),
    "generated_tokens": ("skerry_generated_tokens", "Tokens given out, those of broken answers too"),
    "steps": ("skerry_steps", "Passes through the model"),
    "decode_steps": ("skerry_decode_steps", "Passes in which an answer took its next token"),
    "fast_steps": ("skerry_fast_steps", "Passes through compiled layers"),
}


class Metrics:
    """One registry per server, so two servers in one process do not share counts; any number of models."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # resident memory, CPU seconds, start time
        self._engines = _Engines()
        self._registry.register(self._engines)
        self.ready = Gauge("skerry_ready", "1 while requests are taken", registry=self._registry)
        self._requests = Counter(
            "skerry_requests", "HTTP answers", ["route", "status"], registry=self._registry
        )
        self._ignored = Counter(
            "skerry_ignored_fields",
            "Fields of requests that no wire format knows; they changed nothing",
            MODEL,
            registry=self._registry,
        )
        self._spans = Counter(
            "skerry_spans",
            "Spans of traces by outcome: made, sent, lost",
            ["outcome"],
            registry=self._registry,
        )
        self._model = Gauge(
            "skerry_model_info", "Always 1", [*MODEL, "digest", "scheme"], registry=self._registry
        )
        self._cache = Gauge(
            "skerry_cache_config_info",
            "Always 1; the second pair of labels as an endpoint picker reads them",
            [*MODEL, "block_size", "num_gpu_blocks"],
            registry=self._registry,
        )
        self._published = Gauge(
            "skerry_quality_published_bits_per_byte",
            "What publishing measured on the artifact's canary",
            MODEL,
            registry=self._registry,
        )
        self._measured = Gauge(
            "skerry_quality_bits_per_byte",
            "What this server measured on it last; --probe-seconds",
            MODEL,
            registry=self._registry,
        )
        self._measured_at = Gauge(
            "skerry_quality_timestamp_seconds",
            "When that was, in seconds since 1970",
            MODEL,
            registry=self._registry,
        )
        self._first_token = self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a request that was understood to its first token, waiting included; whole answers only",
            GEN_AI,
            FIRST_TOKEN,
        )
        self._per_token = self._histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time of an answer's tokens after the first; whole answers only",
            GEN_AI,
            PER_TOKEN,
        )
        self._duration = self._histogram(
            "gen_ai_server_request_duration_seconds",
            "From a request's head to the end of its answer; error_type is empty after success",
            (*GEN_AI, "error_type"),
            DURATION,
        )
        self._usage = self._histogram(
            "gen_ai_client_token_usage",
            "Tokens of one request, in and out",
            (*GEN_AI, "gen_ai_token_type"),
            TOKENS,
        )
        self._between = self._histogram(
            "skerry_inter_token_seconds",
            "From one token to the next, where a mean hides a stall",
            MODEL,
            PER_TOKEN,
        )

    def model(self, name: str, version: str, digest: str, scheme: str, numbers: Numbers) -> None:
        """Say that a model answers, and read `numbers` from now on."""
        self._model.labels(name, version, digest, scheme).set(1)
        if blocks := numbers.cache_blocks():
            self._cache.labels(name, version, numbers.block_tokens(), blocks).set(1)
        self._engines.models.append(((name, version), numbers))

    def ignored(self, told: Exchange, fields: int) -> None:
        self._ignored.labels(told.model, told.version).inc(fields)

    def between_tokens(self, told: Exchange, seconds: float) -> None:
        self._between.labels(told.model, told.version).observe(seconds)

    def published(self, name: str, version: str, bits_per_byte: float) -> None:
        self._published.labels(name, version).set(bits_per_byte)

    def measured(self, name: str, version: str, bits_per_byte: float) -> None:
        self._measured.labels(name, version).set(bits_per_byte)
        self._measured_at.labels(name, version).set_to_current_time()

    def spans(self, outcome: str, spans: int) -> None:
        self._spans.labels(outcome).inc(spans)

    def hear(self, told: Exchange) -> None:
        """Count an exchange that has ended."""
        self._requests.labels(told.route, str(told.status)).inc()
        if not told.model:
            return
        about = told.operation, PROVIDER, told.model, told.version
        self._duration.labels(*about, told.error).observe(told.ended - told.began)
        if told.prompt_tokens:
            self._usage.labels(*about, "input").observe(told.prompt_tokens)
        if told.output_tokens:
            self._usage.labels(*about, "output").observe(told.output_tokens)
        if told.error or told.reached is None or told.first is None or told.last is None:
            return
        self._first_token.labels(*about).observe(told.first - told.reached)
        if told.output_tokens > 1:
            self._per_token.labels(*about).observe((told.last - told.first) / (told.output_tokens - 1))

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def _histogram(
        self, name: str, about: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, about, labels, buckets=buckets, registry=self._registry)


class _Engines(Collector):
    """Reads every model's numbers when somebody asks; until then they cost nothing."""

    def __init__(self) -> None:
        self.models: list[tuple[tuple[str, str], Numbers]] = []

    def collect(self) -> Iterator[Metric]:
        models = list(self.models)
        for name, (about, read) in GAUGES.items():
            family: Metric = GaugeMetricFamily(name, about, labels=MODEL)
            for labels, numbers in models:
                family.add_metric(labels, read(numbers))
            yield family
        for key, (name, about) in COUNTERS.items():
            family = CounterMetricFamily(name, about, labels=MODEL)
            for labels, numbers in models:
                family.add_metric(labels, getattr(numbers.counts(), key))
            yield family
