"""What a search varies: a training setting's choices, or a range of it.

    learning_rate=log:1e-4:1e-2    a range, drawn evenly over its orders of magnitude
    layers=1:4                     a range, whole numbers where the setting is one
    clip=0.5,1,2                   choices

or a .json file, {"learning_rate": "log:1e-4:1e-2", "clip": [0.5, 1, 2]}.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice, product
from pathlib import Path
from typing import Any

from optuna import Trial

from workloads.training.config import TrainConfig, parse
from workloads.training.flags import ConfigError, read_value
from workloads.training.model import ModelConfig

# What changes how well a run learns. Steps and data are not among it: more of them is better, at a price.
SEARCHABLE = (
    *("batch", "accumulate", "learning_rate", "warmup", "final_fraction", "weight_decay", "clip"),
    *("precision", "width", "layers", "heads", "key_value_heads", "hidden", "context", "tied"),
    *("rope_theta", "norm_eps"),
)
KINDS: dict[str, Any] = {each.name: each.type for each in (*fields(TrainConfig), *fields(ModelConfig))}
FORMS = "NAME=CHOICE,CHOICE, NAME=LOW:HIGH or NAME=log:LOW:HIGH"
CORNERS = 1000  # combinations that are tried against the rules before anything starts


@dataclass(frozen=True)
class Choices:
    values: tuple[Any, ...]

    def corners(self) -> tuple[Any, ...]:
        return self.values

    def draw(self, trial: Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range:
    low: Any
    high: Any
    log: bool

    def corners(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def draw(self, trial: Trial, name: str) -> Any:
        suggest = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return suggest(name, self.low, self.high, log=self.log)


Space = dict[str, Choices | Range]


def read_space(given: Sequence[str]) -> Space:
    """The space that such words, or the files they name, describe. Raises ConfigError with every mistake in them."""
    space: Space = {}
    problems: list[str] = []
    for name, words in _pairs(given, problems):
        try:
            if name not in SEARCHABLE:
                raise ValueError(f"is nothing to search over; known are {', '.join(SEARCHABLE)}")
            if name in space:
                raise ValueError("is given twice; keep one")
            space[name] = _dimension(KINDS[name], words)
        except ValueError as error:
            problems.append(f"space {name}={words}: {error}")
    if not space and not problems:
        problems.append(f"space: must name at least one setting; give --space {FORMS}, or a .json file")
    if problems:
        raise ConfigError(*problems)
    return space


def refuse_broken_corners(space: Space, training: Sequence[str], workers: int) -> None:
    """Raises ConfigError unless every combination of choices and ends of ranges may start."""
    problems: dict[str, None] = {}
    for values in islice(product(*(each.corners() for each in space.values())), CORNERS):
        try:
            parse([*training, *as_flags(dict(zip(space, values, strict=True)))], workers)
        except ConfigError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(*problems, f"the space {', '.join(space)} must hold only runs that may start")


def as_flags(parameters: dict[str, Any]) -> list[str]:
    """Such settings as arguments of the training program."""
    return [f"--{name.replace('_', '-')}={_word(value)}" for name, value in parameters.items()]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(given: Sequence[str], problems: list[str]) -> list[tuple[str, str]]:
    found = []
    for words in given:
        name, equals, rest = words.partition("=")
        if equals:
            found.append((name.strip().replace("-", "_"), rest))
        elif words.endswith(".json"):
            try:
                content = json.loads(Path(words).read_text(encoding="utf-8"))
                found += [
                    (name, ",".join(map(_word, each)) if isinstance(each, list) else _word(each))
                    for name, each in content.items()
                ]
            except (OSError, ValueError, AttributeError) as error:
                problems.append(f"space {words}: is no JSON object of settings ({error}); see --help")
        else:
            problems.append(f"space {words!r}: must be {FORMS}, or the path of a .json file")
    return found


def _dimension(kind: Any, words: str) -> Choices | Range:
    if ":" not in words:
        values = tuple(read_value(kind, word.strip()) for word in words.split(","))
        if len(set(values)) < len(values):
            raise ValueError("names a choice twice; keep one")
        return Choices(values)
    if kind not in (int, float):
        raise ValueError("is no number and has no range; list its choices: NAME=CHOICE,CHOICE")
    log = words.startswith("log:")
    ends = [read_value(kind, word) for word in words.removeprefix("log:").split(":")]
    if len(ends) != 2:
        raise ValueError(f"must be {FORMS}")
    low, high = ends
    if not low < high:
        raise ValueError("the low end must be below the high one; swap them, or give one choice")
    if log and low <= 0:
        raise ValueError("a log range must begin above 0; raise its low end or leave log: out")
    return Range(low, high, log)
