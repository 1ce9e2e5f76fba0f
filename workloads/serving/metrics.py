"""What the server counts, in Prometheus form. Labels never carry anything a client wrote."""

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """One registry per server, so two servers in one process do not share counts."""

    def __init__(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # resident memory, CPU seconds, start time
        self.requests = Counter(
            "skerry_requests", "HTTP answers", ["route", "status"], registry=self._registry
        )
        self.prompt_tokens = Counter("skerry_prompt_tokens", "Tokens taken in", registry=self._registry)
        self.generated_tokens = Counter(
            "skerry_generated_tokens", "Tokens given out", registry=self._registry
        )
        self.ignored_fields = Counter(
            "skerry_ignored_fields",
            "Fields of requests that no wire format knows; they changed nothing",
            registry=self._registry,
        )
        self.first_token = Histogram(
            "skerry_time_to_first_token_seconds",
            "From the accepted request to its first token, waiting included",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.between_tokens = Histogram(
            "skerry_inter_token_seconds",
            "From one token to the next",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.cancelled = Counter(
            "skerry_cancelled_requests", "Answers ended early: the client left", registry=self._registry
        )
        self.ready = Gauge("skerry_ready", "1 while requests are taken", registry=self._registry)
        Gauge("skerry_requests_waiting", "Requests in the queue", registry=self._registry).set_function(
            waiting
        )
        Gauge("skerry_requests_running", "Requests being answered", registry=self._registry).set_function(
            running
        )
        self._model = Gauge(
            "skerry_model_info", "Always 1", ["model", "digest", "scheme"], registry=self._registry
        )

    def model(self, name: str, digest: str, scheme: str) -> None:
        """Say which model answers."""
        self._model.labels(name, digest, scheme).set(1)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class TokenClock:
    """Times one answer's tokens into the two histograms."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last = time.perf_counter()
        self._tokens = 0

    def tick(self, tokens: int) -> None:
        """Note that `tokens` tokens exist by now."""
        if tokens == self._tokens:
            return
        now = time.perf_counter()
        histogram = self._metrics.between_tokens if self._tokens else self._metrics.first_token
        histogram.observe(now - self._last)
        self._metrics.generated_tokens.inc(tokens - self._tokens)
        self._last, self._tokens = now, tokens
