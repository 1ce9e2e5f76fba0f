"""Search for the settings that train best: each trial is a run of the training program, ended early if it lags behind.

    python -m workloads.training.tune --space learning_rate=log:1e-4:1e-2 --space clip=0.5,1,2 --trials 20 \\
        --output out/best -- --data out/data --steps 200

What stands behind `--` goes to every trial; --help lists the settings before it, search_space.py says what a space is.
A trial reports its training loss on the way, by which Optuna prunes, and its held-out bits per byte at its end, which
are minimized. The same command again goes on where the search was stopped or killed; several at once, on one machine or
on several that share a database, work on the same search. Each ends when all of it is done.
Trials are told on stderr and the result on stdout, one JSON object a line. Exit codes: 0 done, 2 a setting cannot be
used, 143 stopped by a signal, 1 anything else.
"""

import json
import os
import re
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from workloads.manifest import OutputRefused, manifest_digest
from workloads.remote import check_apart, publishing
from workloads.training import launch
from workloads.training.config import local_path, shown
from workloads.training.export import destination
from workloads.training.flags import ConfigError, read_flags
from workloads.training.search_space import Space, as_flags, read_space, refuse_broken_corners
from workloads.training.study import (
    PASSWORD,
    counted,
    give_up_dead_trials,
    has_password,
    open_study,
    retry,
    without_password,
)
from workloads.training.trial_process import TrialProcess

STOPPED = 128 + signal.SIGTERM
OURS = ("output", "checkpoints", "fallback", "run_id", "stop_at")  # every trial has its own, or none


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    study: str = "tune"  # processes that name the same study at the same storage share it
    storage: str = (
        "out/tune.db"  # an SQLite file for the processes of one machine, or a database's URL: see study.py
    )
    space: tuple[str, ...] = ()  # what to vary, see search_space.py
    trials: int = 20  # in all, over every process and every restart
    workers: int = 1  # of each trial; several are started by torchrun, on this machine only
    seed: int = 0  # of the search; all trials share the training's own --seed, so that only settings differ
    startup: int = 5  # trials that must have completed before one is pruned: the median of fewer says little
    prune_after: int = 50  # steps before which no trial is pruned: the losses of a warm-up say little
    patience: float = 30.0  # seconds that a pruned trial has to end before it is killed
    heartbeat: int = (
        10  # seconds between a trial's heartbeats; three missed ones and another process takes over
    )
    work: str = "out/tune"  # a folder per trial: its log, and the best one's model
    output: str = ""  # where the best trial's model is published in the end; empty publishes none

    def problems(self) -> list[str]:
        """Every broken rule, one sentence each."""
        found = [
            f"{name}={without_password(getattr(self, name))!r}: must be {rule}; the default is "
            f"{getattr(TuneConfig, name)!r}"
            for name, holds, rule in (
                ("trials", self.trials >= 1, "at least 1"),
                ("workers", self.workers >= 1, "at least 1"),
                ("seed", self.seed >= 0, "0 or more"),
                ("startup", self.startup >= 1, "at least 1"),
                ("prune_after", self.prune_after >= 0, "0 or more"),
                ("patience", 0 < self.patience < float("inf"), "above 0 and finite"),
                ("heartbeat", self.heartbeat >= 1, "at least 1 second"),
                ("storage", bool(self.storage), "a path or a URL"),
                ("storage", not has_password(self.storage), f"without a password; that goes in {PASSWORD}"),
                ("study", bool(re.fullmatch(r"[\w.-]+", self.study)), "a word of letters, digits, . _ and -"),
            )
            if not holds
        ]
        for name in ("work", "output"):
            try:
                local_path(name, getattr(self, name))
            except ConfigError as error:
                found += error.problems
        return found


class TrialFailed(Exception):
    """A trial's process ended without a result; the search goes on."""


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # every trial has a line of ours
    try:
        config, space, training = read(arguments)
        folder = local_path("output", config.output).absolute() if config.output else None
        if config.output:  # refused now rather than after the search
            check_apart(config.output, work=config.work, storage=config.storage)
            destination(config.output)
        asks = {"space": {name: str(each) for name, each in space.items()}, "training": training}
        asks |= {"workers": config.workers}
        pruner = optuna.pruners.MedianPruner(config.startup, config.prune_after)
        study = open_study(config.study, config.storage, config.heartbeat, pruner, asks)
        search = Search(config, space, training, study)
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                kind, search.stop
            )  # raised at any place, it could break off what the database is told
        search.run()
        result = search.result()
        if folder:
            result |= {"output": shown(folder), "manifest_digest": search.publish(folder)}
        print(json.dumps(result), flush=True)
    except (ConfigError, OutputRefused) as error:
        print(f"workloads.training.tune: {error}", file=sys.stderr, flush=True)
        return 2
    except (TrialFailed, optuna.exceptions.StorageInternalError) as error:
        print(f"workloads.training.tune: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("stopped by a signal; the same command goes on", file=sys.stderr, flush=True)
        return STOPPED
    return 0


def read(arguments: Sequence[str]) -> tuple[TuneConfig, Space, list[str]]:
    """The search's settings, its space, and what goes to every trial. Raises ConfigError."""
    given = list(arguments)
    cut = given.index("--") if "--" in given else len(given)
    ours, training = given[:cut], given[cut + 1 :]
    [values], problems = read_flags("workloads.training.tune", ours, TuneConfig)
    config = TuneConfig(**values)
    problems += config.problems()
    if problems:
        raise ConfigError(*problems)
    space = read_space(config.space)
    named = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in training}
    for name in sorted(named & {*OURS, *space}):
        rule = "is searched" if name in space else "each trial has its own"
        problems.append(f"{name}: stands behind -- and {rule}; leave it out there")
    if problems:
        raise ConfigError(*problems)
    refuse_broken_corners(space, training, config.workers)
    return config, space, training


@dataclass
class Search:
    config: TuneConfig
    space: Space
    training: list[str]
    study: optuna.Study
    number: int = field(default=-1, init=False)  # of the trial that this process began last
    process: TrialProcess | None = field(default=None, init=False)  # of that trial, while it runs
    stopped: bool = field(default=False, init=False)

    def stop(self, *_: object) -> None:
        """End the trial that runs, then the search."""
        self.stopped = True
        if self.process:
            self.process.end()

    def go_on(self) -> None:
        """Raises KeyboardInterrupt once the search was stopped."""
        if self.stopped:
            raise KeyboardInterrupt

    def run(self) -> None:
        """Run trials until none is left to begin and none is running, also in another process."""
        while True:
            self.go_on()
            give_up_dead_trials(self.study, self.config.heartbeat)
            trials = counted(self.study)
            if len(trials) < self.config.trials:
                self.step()
            elif any(trial.state == TrialState.RUNNING for trial in trials):
                time.sleep(1.0)  # its process may die, then its parameters are ours
            else:
                return

    def step(self) -> None:
        """One trial, and a line about it."""
        try:
            self.study.optimize(self.objective, n_trials=1, catch=(TrialFailed,))
        except KeyboardInterrupt:
            retry(self.study, self.study.trials[self.number])
            raise
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            if not self.study.trials[self.number].state.is_finished():
                raise
            self.tell("taken over", "its heartbeat was silent for too long; raise --heartbeat")
            return
        self.keep_only_the_best_model()

    def objective(self, trial: optuna.Trial) -> float:
        self.number = trial.number
        trial.set_user_attr("begun", True)
        before = [each for each in counted(self.study) if each.number < trial.number]
        if len(before) >= self.config.trials:  # another process began the last one at the same moment
            trial.set_user_attr("void", "one too many")
            raise TrialFailed("one too many")
        # Drawn by its number alone: neither a restart nor another process draws the same again.
        [seed] = np.random.SeedSequence((self.config.seed, trial.number)).generate_state(1)
        self.study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        parameters = {name: each.draw(trial, name) for name, each in self.space.items()}
        folder = self.folder(trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        given = [*self.training, *as_flags(parameters), "--output", str(folder / "model")]
        command = launch.training(self.config.workers, given)
        environment = {**os.environ, **(launch.ON_LOOPBACK if self.config.workers > 1 else {})}
        record: dict[str, Any] = {}
        self.go_on()
        with TrialProcess(command, environment, folder / "log", self.config.patience) as self.process:
            process = self.process
            for line in process.lines():
                self.go_on()
                if "step" in line and "loss" in line:
                    trial.report(line["loss"], line["step"])
                    if trial.should_prune():
                        self.tell("pruned", parameters=parameters, at_step=line["step"], loss=line["loss"])
                        raise optuna.TrialPruned
                elif "bits_per_byte" in line:
                    record = line
            code = process.code()
        self.go_on()
        if code == 0 and record:
            self.tell("complete", parameters=parameters, bits_per_byte=record["bits_per_byte"])
            return record["bits_per_byte"]
        if code == 2:  # so would every other trial
            trial.set_user_attr("void", "refused")
            raise ConfigError(f"trial {trial.number} was refused:\n{process.last_words()}")
        self.tell("failed", f"exit code {code}, see {process.log}", parameters=parameters)
        raise TrialFailed(f"trial {trial.number}: exit code {code}, see {process.log}")

    def result(self) -> dict[str, Any]:
        """What the search found. Raises TrialFailed when no trial came to its end."""
        trials = counted(self.study)
        states = [trial.state for trial in trials]
        if TrialState.COMPLETE not in states:
            raise TrialFailed(
                f"none of {len(trials)} trials came to its end; see the logs in {self.folder()}"
            )
        best = self.study.best_trial
        return {
            "study": self.study.study_name,
            "best_parameters": best.params,
            "best_value": best.value,
            "metric": "bits_per_byte",
            "best_trial": best.number,
            "trials": len(trials),
            "complete": states.count(TrialState.COMPLETE),
            "pruned": states.count(TrialState.PRUNED),
            "failed": states.count(TrialState.FAIL),
            "train_with": [*self.training, *as_flags(best.params)],
        }

    def publish(self, output: Path | str) -> str:
        """Copy the best trial's model to `output`; its digest. Raises ConfigError when it is not on this machine."""
        best = self.study.best_trial
        model = self.folder(best.number) / "model"
        if not model.exists():
            raise ConfigError(
                f"output: trial {best.number} was best and {model} is not here; publish where it ran, or train it "
                f"again: python -m workloads.training.train {' '.join([*self.training, *as_flags(best.params)])}"
            )
        with publishing(output) as partial:
            shutil.copytree(model, partial, dirs_exist_ok=True)
        return manifest_digest(model)

    def keep_only_the_best_model(self) -> None:
        """Of all complete trials: a large model times many trials fills a disk."""
        complete = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        for trial in complete:
            if trial.number != self.study.best_trial.number:
                shutil.rmtree(self.folder(trial.number) / "model", ignore_errors=True)

    def folder(self, number: int | None = None) -> Path:
        """A trial's folder, or that of all."""
        within = local_path("work", self.config.work) / self.study.study_name
        return within if number is None else within / f"trial-{number:05d}"

    def tell(self, state: str, why: str = "", **more: Any) -> None:
        line = {"trial": self.number, "state": state, **({"why": why} if why else {}), **more}
        print(json.dumps(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
