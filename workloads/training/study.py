"""A study that several processes share: where it is kept, which of its trials count, and what a killed process leaves.

It is kept by Optuna in a database, as only there a trial has a heartbeat: a trial whose heartbeat has stopped is marked
as failed, and another trial takes up its parameters.

A database's password is taken from the environment: a flag is in every list of processes, and in the trials' logs.
"""

import os
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback as Retry
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from workloads.training.flags import ConfigError

PASSWORD = "SKERRY_TUNE_PASSWORD"  # the variable with the database's password, where it asks for one
RETRIES = 3  # of one set of parameters whose process was killed: it may be what kills it
LAPSES = 3  # heartbeats that may be missed before a trial is given up
OPENINGS = 5  # tries, half a second apart: two processes may make the tables of a new database at once


def open_study(
    name: str, storage: str, heartbeat: int, pruner: optuna.pruners.BasePruner, asks: dict[str, Any]
) -> optuna.Study:
    """The study of this name, made where there is none. `heartbeat` in seconds.

    `storage` is the path of an SQLite file or a URL; `asks` (JSON values) is what the study is for. Raises ConfigError
    when the storage cannot be used, or when the study there asks something else.
    """
    url = storage if "://" in storage else f"sqlite:///{Path(storage).absolute()}"
    study = _opened(url, name, heartbeat, pruner)
    kept_asks = study.user_attrs.get("asks", asks)
    for key, ours in asks.items():
        if kept_asks.get(key) != ours:
            raise ConfigError(
                f"study={name!r}: was begun with {key}={kept_asks.get(key)!r} and is now asked for {ours!r}; take "
                "another name, or the settings that it began with"
            )
    study.set_user_attr("asks", asks)
    return study


def has_password(storage: str) -> bool:
    """Whether a URL tells a password, by its user or among its arguments."""
    return without_password(storage) != storage


def without_password(value: Any) -> Any:
    """A URL with *** in place of each password; any other value as it is."""
    if not isinstance(value, str) or "://" not in value:
        return value
    beside_user = re.sub(r"(://[^/?#:@]*):.*@", r"\1:***@", value)
    return re.sub(r"(?i)([?&;](?:password|passwd|pwd)=)[^&;]*", r"\1***", beside_user)


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were begun and count: not one that another replaced, nor one that was void."""
    trials = study.get_trials(deepcopy=False)
    replaced = {number for trial in trials for number in Retry.retry_history(trial)}
    return [
        trial
        for trial in trials
        if trial.state != TrialState.WAITING
        and trial.number not in replaced
        and "void" not in trial.user_attrs
    ]


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the parameters of a trial that did not come to its end, for whichever process begins the next."""
    Retry(max_retry=RETRIES)(study, trial)


def give_up_dead_trials(study: optuna.Study, heartbeat: int) -> None:
    """Mark trials whose process is gone as failed; what they tried is queued again."""
    optuna.storages.fail_stale_trials(study)
    long_ago = datetime.now() - timedelta(seconds=LAPSES * heartbeat)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        # Killed before its first heartbeat, which Optuna waits for ever.
        if "begun" not in trial.user_attrs and trial.datetime_start and trial.datetime_start < long_ago:
            study.tell(trial.number, state=TrialState.FAIL)
            retry(study, study.trials[trial.number])


def _opened(url: str, name: str, heartbeat: int, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    reason: Exception = OSError("not tried")
    for _ in range(OPENINGS):
        try:
            if url.startswith("sqlite:///"):
                Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            storage = optuna.storages.RDBStorage(
                _with_password(url),
                # An SQLite file is locked as a whole: a writer waits for the other processes' short writes.
                engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {},
                heartbeat_interval=heartbeat,
                grace_period=LAPSES * heartbeat,
                heartbeat_stale_trial_callback=retry,
            )
            return optuna.create_study(storage=storage, study_name=name, pruner=pruner, load_if_exists=True)
        except (SQLAlchemyError, ImportError, OSError, RuntimeError, optuna.exceptions.OptunaError) as error:
            reason = error
            time.sleep(0.5)
    raise ConfigError(_unusable(url, reason)) from reason


def _with_password(url: str) -> str:
    password = os.environ.get(PASSWORD)
    if url.startswith("sqlite") or not password:
        return url
    return make_url(url).set(password=password).render_as_string(hide_password=False)


def _unusable(url: str, error: Exception) -> str:
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        shown = "..."
    reason = str(error.__cause__ or error).splitlines()[0]
    return (
        f"storage={shown!r}: cannot be used ({reason}); give the path of an SQLite file that Optuna made or may make, "
        "or the URL of a database whose driver is installed and that answers"
    )
