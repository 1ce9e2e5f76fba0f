"""Every setting of a training run on one screen, its flags, and the rules between them.

The flags are generated from the fields, so there is no second list to keep in step. The rules need no file,
device or network; all are checked before anything starts, and every broken one is reported at once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from workloads.training.model import ModelConfig


class ConfigError(Exception):
    """One or more settings break a rule; the message lists each with its value, the rule and a remedy."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        count = "one setting" if len(problems) == 1 else f"{len(problems)} settings"
        super().__init__(f"{count} cannot be used:" + "".join(f"\n  {problem}" for problem in problems))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    output: str = "out/model"  # where the model folder is published: a path or a file:// URI
    data: str = ""  # folder of text, a path or a file:// URI; empty is Python's standard library
    pattern: str = "*.py"  # which file names under data count as text
    seed: int = 0  # fixes the first weights and every batch; another seed is another run
    steps: int = 500  # optimizer steps: a fixed count, never a time limit, so a slow machine learns the same
    batch: int = 8  # sequences per step over all workers; many small steps teach more per second
    learning_rate: float = 3e-3  # peak; small models bear a high one
    warmup: int = 50  # steps to reach the peak; before that Adam's moments are noise
    final_fraction: float = 0.05  # the cosine ends at this share of the peak
    weight_decay: float = 0.1  # on matrices only; norms' scales have no reason to shrink
    clip: float = 1.0  # largest gradient norm; one odd batch must not undo many
    precision: str = "fp32"  # or "bf16", matrix products under autocast; too small a model to gain by it
    evaluation_bytes: int = 524_288  # held-out bytes to score at the end, spread over the held-out files
    log_every: int = 20  # steps between progress lines
    model: ModelConfig = field(default_factory=ModelConfig)

    def problems(self, world: int) -> list[str]:
        """Every broken rule for a run of `world` workers, one sentence each; empty when the run may start."""
        found = []

        def require(name: str, holds: bool, rule: str) -> None:
            if not holds:
                value, default = getattr(self, name), getattr(TrainConfig, name)
                found.append(f"{name}={value!r}: must be {rule}; the default is {default!r}")

        for name in ("steps", "evaluation_bytes", "log_every"):
            require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "clip"):
            require(name, 0 < getattr(self, name) < inf, "above 0 and finite")
        require("seed", self.seed >= 0, "0 or more")
        require("warmup", self.warmup >= 0, "0 (none) or more")
        require("final_fraction", 0 <= self.final_fraction <= 1, "between 0 and 1")
        require("weight_decay", 0 <= self.weight_decay < inf, "0 or more and finite")
        require("precision", self.precision in ("fp32", "bf16"), "fp32 or bf16")
        require("pattern", bool(self.pattern), "a file name pattern")
        require("output", bool(self.output), "a path or a file:// URI")
        if self.batch < 1 or self.batch % world:
            below = self.batch // world * world
            fitting = [size for size in (below, below + world) if size > 0] or [world]
            remedy = " or ".join(map(str, fitting))
            found.append(
                f"batch={self.batch}: must be a positive multiple of the {world} workers, "
                f"each takes an equal share; try {remedy}, or another number of workers"
            )
        for name in ("output", "data"):
            try:
                local_path(name, getattr(self, name))
            except ConfigError as error:
                found += error.problems
        return found + self.model.problems()


def local_path(name: str, value: str) -> Path:
    """The local folder that a path or file:// URI names; raises ConfigError for any other scheme."""
    parts = urlsplit(value)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return Path(unquote(parts.path))
    if "://" in value or value.startswith("file:"):
        raise ConfigError(
            f"{name}={value!r}: must be a path or file:///absolute/path, no other storage is reached; "
            "mount the store and give the mounted folder"
        )
    return Path(value)


def parse(arguments: Sequence[str], world: int) -> TrainConfig:
    """The settings given by flags, defaults for the rest.

    Raises ConfigError with every mistake in them: unknown flags, values of the wrong kind, broken rules.
    """
    parser = _Parser(prog="workloads.training.train", allow_abbrev=False)
    flags = {"vocabulary", "model"}  # the tokenizer fixes the one, the other's fields are flags themselves
    for owner in (TrainConfig, ModelConfig):
        for each in fields(owner):
            if each.name not in flags:
                flag = "--" + each.name.replace("_", "-")
                parser.add_argument(flag, metavar=_KIND[each.type].upper(), help=f"default: {each.default!r}")
    given, unknown = parser.parse_known_args(arguments)
    problems = []
    for before, word in zip(["", *unknown], unknown, strict=False):
        if word.startswith("-"):
            problems.append(f"{word}: is no setting; --help lists them all")
        elif not before.startswith("-"):  # else it is the value of the flag just reported
            problems.append(f"{word!r}: is a value without a flag; write --name value")
    values: dict[type, dict[str, Any]] = {TrainConfig: {}, ModelConfig: {}}
    for owner, chosen in values.items():
        for each in fields(owner):
            text = getattr(given, each.name, None)
            if text is not None:
                try:
                    chosen[each.name] = _READ[each.type](text)
                except (ValueError, KeyError):
                    rule = f"must be {_KIND[each.type]}; the default is {each.default!r}"
                    problems.append(f"{each.name}={text!r}: {rule}")
    config = TrainConfig(**values[TrainConfig], model=ModelConfig(**values[ModelConfig]))
    problems += config.problems(world)  # an unreadable field has its default here, which breaks no rule
    if problems:
        raise ConfigError(*problems)
    return config


_READ: dict[Any, Any] = {str: str, int: int, float: float, bool: {"true": True, "false": False}.__getitem__}
_KIND: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists every setting")
