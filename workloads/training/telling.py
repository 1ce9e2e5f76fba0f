"""Who hears of a run: stderr and its log always, Prometheus and MLflow where the settings ask for them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from workloads.training.config import TrainConfig
from workloads.training.lines import Lines
from workloads.training.workers import Workers


@contextmanager
def telling(config: TrainConfig, workers: Workers, run: str) -> Iterator[Lines]:
    """The lines of one life of `run`; at its end all who listen have heard how it ended.

    Raises ConfigError when the log or the metrics' address cannot be had.
    """
    lines = Lines(workers.rank, config.log)
    with ExitStack() as closing:
        closing.callback(lines.close)
        if config.metrics_port and workers.rank == 0:
            from workloads.training.metrics import Metrics  # few need it, as those below

            metrics = Metrics(
                config.metrics_address, config.metrics_port, config.batch * config.model.context
            )
            lines.listeners.append(metrics.hear)
            closing.callback(metrics.close)
        if config.mlflow_uri and workers.rank == 0:
            from workloads.training.tracking import Tracking

            place, patience = (config.mlflow_uri, config.mlflow_experiment), config.mlflow_patience
            tracking = Tracking(*place, run, asdict(config), lines.tell, patience)
            lines.listeners.append(tracking.hear)
            closing.callback(tracking.close)
        try:
            yield lines
        except BaseException as error:
            how = "stopped" if isinstance(error, SystemExit) else "failed"
            lines.end({"ended": how, "why": f"{type(error).__name__}: {error}"})
            raise
        lines.end({"ended": "failed"})  # heard only where nothing was said of the end before
