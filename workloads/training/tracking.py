"""The run in MLflow: settings, every number with its step, and at the end the published model's papers.

All of it happens on a thread of its own: a training never waits for a tracking server, and goes on without one. What
could not be sent is kept and tried again; one line tells when the server is lost and one when it is found again.

A restarted run goes on in the same MLflow run: the newest of the experiment that carries the run's name as tag
`skerry.run_id` and has not finished. Steps that it takes again are there twice.
"""

import math
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workloads.remote import open_address
from workloads.training.lines import Line

TAG = "skerry.run_id"
TOLD = "skerry.settings_told"  # the tag of a run whose settings have been sent: the server may be lost in between
ABOUT = ("data_digest", "device", "world_size", "life")  # of a life's first line: tags, as they may change
STATUS = {"published": "FINISHED", "preempted": "KILLED", "stopped": "KILLED"}  # any other end is FAILED
PAPERS = ("README.md", "config.json", "record.json")
PAUSE = 2.0  # seconds between two sendings
KEPT = 10_000  # lines at most while the server is lost; then the oldest go

# The library's own patience is 7 tries of 120 seconds; and it would report its use to its makers.
ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


class Tracking:
    def __init__(
        self,
        uri: str,
        experiment: str,
        run: str,
        settings: dict[str, Any],
        tell: Callable[[Line], None],
        patience: float,
    ) -> None:
        """`settings` become the run's parameters; `tell` hears of outages. Nothing is reached yet.

        `patience`: seconds that `close` waits for the server at most. A single request may take half of it.
        """
        self.uri, self.tell, self.patience = uri, tell, patience
        self._open = lambda: Session(uri, experiment, run, settings, patience / 2)
        self._session: Session | None = None
        self._waiting: deque[Line] = deque()
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def hear(self, line: Line) -> None:
        """Send this line some time."""
        if "tracking" not in line:
            self._waiting.append(line)

    def close(self) -> None:
        """Send what is left, for a bounded time; a line tells how much could not be."""
        self._ended.set()
        self._thread.join(self.patience)  # a request that hangs is not waited for
        if self._waiting:
            self.tell({"tracking": "given up", "place": self.uri, "lines_not_sent": len(self._waiting)})

    def _work(self) -> None:
        last_try = float("inf")
        while True:
            ended = self._ended.wait(PAUSE)
            if ended and last_try == float("inf"):
                last_try = time.monotonic() + self.patience / 2
            self._send()
            if ended and (not self._waiting or time.monotonic() > last_try):
                return
            if ended:
                time.sleep(PAUSE / 4)

    def _send(self) -> None:
        """Send what waits. Whatever goes wrong, with the network, the server or the library, is not the run's end."""
        lines = list(self._waiting)
        if not lines:
            return
        try:
            self._session = self._session or self._open()
            self._session.send(lines)
        except Exception as error:
            for _ in range(len(self._waiting) - KEPT):
                self._waiting.popleft()
            if not self._lost:
                why = str(error).partition("\n")[0][:200]
                self.tell(
                    {"tracking": "not reached", "place": self.uri, "why": f"{type(error).__name__}: {why}"}
                )
            self._lost = True
            return
        for _ in lines:
            self._waiting.popleft()
        if self._lost:
            self.tell({"tracking": "reached again", "place": self.uri})
        self._lost = False


class Session:
    """One MLflow run, over a server that answers. Everything here raises what the library raises."""

    def __init__(
        self, uri: str, experiment: str, run: str, settings: dict[str, Any], request_seconds: float = 10.0
    ) -> None:
        """`request_seconds`: how long one request may take, unless MLFLOW_HTTP_REQUEST_TIMEOUT is set."""
        timeout = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(request_seconds))}
        for name, value in {**ENVIRONMENT, **timeout}.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient  # takes seconds, and few need it
        from mlflow.entities import Metric, Param, RunTag

        self._metric, self._tag = Metric, RunTag
        self._log, self._client = settings["log"], MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self._client.create_experiment(experiment)
        mine = f"tags.`{TAG}` = '{run}' and attributes.status != 'FINISHED'"
        runs = self._client.search_runs([place], mine, max_results=1, order_by=["attributes.start_time DESC"])
        if runs:
            self._id = runs[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            if TOLD in runs[0].data.tags:
                return
        else:
            self._id = self._client.create_run(place, tags={TAG: run}, run_name=run).info.run_id
        self._client.log_dict(self._id, settings, "settings.json")
        flat = {**settings, **{f"model.{name}": value for name, value in settings["model"].items()}}
        flat.pop("model")
        self._client.log_batch(self._id, params=[Param(name, str(value)) for name, value in flat.items()])
        self._client.set_tag(self._id, TOLD, "yes")

    def send(self, lines: list[Line]) -> None:
        """Numbers become metrics at their step, what a life tells of itself tags, its end the run's status."""
        metrics, tags = [], []
        for line in lines:
            if "run" in line:
                tags += [self._tag(name, str(line[name])) for name in ABOUT]
                continue
            step = line.get("step", line.get("at_step", 0))
            for name, value in line.items():
                if isinstance(value, int | float) and name not in ("step", "at_step", "time"):
                    metrics.append(self._metric(name, value, int(line["time"] * 1000), step))
        if tags:
            self._client.log_batch(self._id, tags=tags)
        for at in range(0, len(metrics), 1000):  # as many as the server takes at once
            self._client.log_batch(self._id, metrics=metrics[at : at + 1000])
        for line in lines:
            if "ended" in line:
                self._end(line)

    def _end(self, line: Line) -> None:
        if line["ended"] == "published":
            with tempfile.TemporaryDirectory() as folder:
                files, root = open_address(line["place"])
                for paper in PAPERS:
                    files.get_file(f"{root}/{paper}", f"{folder}/{paper}")
                if self._log:
                    from workloads.training.report import draw

                    draw(Path(self._log), Path(folder, "report.svg"))
                self._client.log_artifacts(self._id, folder)
        self._client.set_terminated(self._id, STATUS.get(line["ended"], "FAILED"))
