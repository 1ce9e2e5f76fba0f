"""The run's numbers for Prometheus to fetch, from rank 0. They are as old as the last line that was told.

Counters count what this process did: they begin at zero in every life, as Prometheus expects of a restart.
"""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, start_http_server

from workloads.training.flags import ConfigError
from workloads.training.lines import Line

PREFIX = "skerry_training"

GAUGES = {
    # key of a line: (name, help)
    "step": ("step", "Optimizer steps that the run has taken."),
    "loss": ("loss", "Training loss in nats per token, mean over the steps of the last line."),
    "bits_per_byte": ("bits_per_byte", "Bits per held-out byte, when last evaluated."),
    "grad_norm": ("gradient_norm", "Norm of the last gradient over all workers, before clipping."),
    "learning_rate": ("learning_rate", "Learning rate of the last step."),
    "tokens_per_second": ("tokens_per_second", "Tokens per second over all workers, since the line before."),
    "step_seconds": ("step_seconds", "Mean time of a step, checkpoints and evaluation left out."),
    "mfu": (
        "mfu_ratio",
        "Share of the devices' dense peak that goes into the model. Absent where no peak is known.",
    ),
    "of_steps": ("planned_steps", "Steps that the run is to take."),
    "world_size": ("world_size", "Workers that share the training."),
    "life": ("life", "1 for a run's first process, one more for each that went on from a checkpoint."),
    "flops_per_token": ("flops_per_token", "Operations of one token's forward and backward pass."),
}
SUMS = {
    # key of a line, a sum so far: (name, help)
    "checkpoint_stall_seconds": (
        "checkpoint_stall_seconds",
        "Time that the training stood still for checkpoints.",
    ),
    "data_wait_seconds": ("data_wait_seconds", "Time that rank 0 stood still for its rows."),
}
INFO = ("run", "data_digest", "device", "precision")


class Metrics:
    def __init__(self, address: str, port: int, tokens_per_step: int) -> None:
        """Serve /metrics there. Raises ConfigError when that cannot be."""
        self._registry, self._tokens_per_step = CollectorRegistry(), tokens_per_step
        self._gauges: dict[str, Gauge] = {}
        self._info = Info(f"{PREFIX}_run", "What runs.", registry=self._registry)
        self._tokens = self._counter("tokens", "Tokens trained on by this process.")
        self._checkpoints = Counter(
            f"{PREFIX}_checkpoints", "Checkpoints by outcome.", ["outcome"], registry=self._registry
        )
        self._sums = {key: self._counter(*about) for key, about in SUMS.items()}
        self._before: dict[str, Any] = dict.fromkeys(SUMS, 0.0)
        try:
            self._server, self._thread = start_http_server(port, address, self._registry)
        except OSError as error:
            raise ConfigError(
                f"metrics_port={port}, metrics_address={address!r}: cannot be listened on ({error.strerror}); give "
                "a free port, or 0 for no metrics"
            ) from error

    def hear(self, line: Line) -> None:
        """Take over what a line tells."""
        if "run" in line:
            self._info.info({name: str(line[name]) for name in INFO})
            self._before["step"] = line["from_step"]
        if "step" in line:
            self._tokens.inc((line["step"] - self._before["step"]) * self._tokens_per_step)
            self._before["step"] = line["step"]
        if line.get("checkpoint") in ("published", "failed", "refused by its place"):
            self._checkpoints.labels(line["checkpoint"].split()[0]).inc()
        for key, about in GAUGES.items():
            if line.get(key) is not None:  # a gauge is made when there is something to show
                self._gauge(key, *about).set(line[key])
        for key, counter in self._sums.items():
            if key in line:
                counter.inc(max(0.0, line[key] - self._before[key]))
                self._before[key] = line[key]

    def close(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _counter(self, name: str, about: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", about, registry=self._registry)

    def _gauge(self, key: str, name: str, about: str) -> Gauge:
        if key not in self._gauges:
            self._gauges[key] = Gauge(f"{PREFIX}_{name}", about, registry=self._registry)
        return self._gauges[key]
