"""Every setting of a training run on one screen, and the rules between them.

Each field is a flag. The rules need no file, device or network, but for the shape that `init` gives; all are checked
before anything starts, and every broken one is reported at once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workloads.manifest import OutputRefused
from workloads.remote import check_apart, is_remote, open_address, place_of
from workloads.training import warm_start
from workloads.training.flags import ConfigError, read_flags
from workloads.training.model import ModelConfig
from workloads.training.presets import PRESETS

APART = ("data", "checkpoints", "fallback", "log", "init")  # what publishing the model must not remove
MOST = {  # far above any use, and within what integers of 64 bits and a machine's memory hold
    # A checkpoint's name has eight digits for its step.
    **dict.fromkeys(("steps", "warmup", "evaluate_every", "log_every", "checkpoint_every"), 10**8 - 1),
    **dict.fromkeys(("batch", "accumulate", "bucket_mb", "keep"), 2**20),
    "evaluation_bytes": 10**15,
    "seed": 2**63 - 1,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    output: str = "out/model"  # where the model folder is published: a path, file://, s3:// or gs:// address
    data: str = (
        ""  # a prepared folder, or one of text that is no object store's; empty is Python's standard library
    )
    data_digest: str = ""  # of a prepared folder, as `prepare` printed it; empty takes what is there
    pattern: str = "*.py"  # which file names under a folder of text count
    seed: int = 0  # fixes the first weights and every batch; another seed is another run
    steps: int = 500  # optimizer steps: a fixed count, never a time limit, so a slow machine learns the same
    batch: int = 8  # sequences per step over all workers; many small steps teach more per second
    accumulate: int = 1  # parts that a worker takes its share of a batch in: as many as its memory asks for
    learning_rate: float = 3e-3  # peak; small models bear a high one
    warmup: int = 50  # steps to reach the peak; before that Adam's moments are noise
    final_fraction: float = 0.05  # the cosine ends at this share of the peak
    weight_decay: float = 0.1  # on matrices only; norms' scales have no reason to shrink
    clip: float = 1.0  # largest gradient norm; one odd batch must not undo many
    # or "bf16", matrix products under autocast; too small a model to gain by it. "fp8" on Hopper: see precision.py
    precision: str = "fp32"
    compile: str = "auto"  # "on", "off", or "auto": on a GPU, where it pays; on a CPU it takes a minute first
    parallel: str = (
        "ddp"  # or "fsdp", every weight cut over the workers: for a model that fits no single device
    )
    # MB of gradients sent at once. DDP's 25 is too small for most (pytorch/pytorch#118421). Between two workers on one
    # CPU it makes no difference beyond noise (docs/benchmarks.md); between GPUs it was not measured.
    bucket_mb: int = 100
    plain: bool = False  # the slow twin of every fast path, to compare with or to find a fault
    evaluation_bytes: int = 524_288  # held-out bytes to score at the end, spread over the held-out files
    evaluate_every: int = 0  # steps between looks at the held-out side on the way; 0 looks at the end only
    log_every: int = 20  # steps between progress lines
    log: str = ""  # a file that all lines of the run are appended to, over its restarts; empty keeps none
    metrics_port: int = 0  # where Prometheus finds rank 0; 0 is nowhere
    metrics_address: str = "127.0.0.1"  # the same; 0.0.0.0 where a cluster's Prometheus is to reach it
    mlflow_uri: str = (
        ""  # a tracking server, http:// or https://; empty is none. Credentials: MLFLOW_TRACKING_*
    )
    mlflow_experiment: str = "skerry"  # what the run belongs to there
    # seconds that the run's end waits for the server at most; a launcher kills a worker that takes 30 to leave
    mlflow_patience: float = 20.0
    checkpoints: str = (
        ""  # where the run keeps what it needs to go on, any address of fsspec; empty keeps nothing
    )
    checkpoint_every: int = 100  # steps; so many at most are lost with a machine
    keep: int = 2  # checkpoints at a time: the newest, and what to fall back on when it is damaged
    fallback: str = (
        ""  # a second place, for when the first cannot be reached; usually a folder of the machine
    )
    store_patience: float = 8.0  # seconds that a place may not answer before a checkpoint is given up there
    run_id: str = (
        ""  # what a run is called over its restarts; empty is torchrun's id or the launching process
    )
    lease_seconds: float = 60.0  # a place is free when its run's heartbeat has been silent for so long
    # seconds for the slowest worker: to come, to take a step, and rank 0 to export and upload what all have learned;
    # more than any of it takes, and so long a worker that hangs costs all of them
    peer_patience: float = 300.0
    stop_at: float = (
        0.0  # Unix time at which the run ends with a checkpoint (a capacity block's end); 0 is never
    )
    init: str = ""  # a model folder in Llama's layout whose weights and shape the run begins with; empty draws weights
    preset: str = (
        "tiny"  # the model's shape, a name of presets.py; the flags below change single fields of it
    )
    model: ModelConfig = field(default_factory=ModelConfig)

    def problems(self, world: int) -> list[str]:
        """Every broken rule for a run of `world` workers, one sentence each; empty when the run may start."""
        found = []

        def require(name: str, holds: bool, rule: str) -> None:
            if not holds:
                value, default = getattr(self, name), getattr(TrainConfig, name)
                found.append(f"{name}={value!r}: must be {rule}; the default is {default!r}")

        for name in (
            "steps",
            "accumulate",
            "bucket_mb",
            "evaluation_bytes",
            "log_every",
            "checkpoint_every",
            "keep",
        ):
            require(name, getattr(self, name) >= 1, "at least 1")
        for name, most in MOST.items():
            require(name, getattr(self, name) <= most, f"at most {most}")
        for name in ("learning_rate", "clip", "lease_seconds", "store_patience"):
            require(name, 0 < getattr(self, name) < inf, "above 0 and finite")
        for name in ("peer_patience", "mlflow_patience"):
            require(name, 1 <= getattr(self, name) <= 86_400, "from 1 to 86400 seconds, a day")
        require("stop_at", 0 <= self.stop_at < inf, "0 (never) or a Unix time")
        require(
            "stop_at",
            bool(self.checkpoints) or not self.stop_at,
            "0 (never) where checkpoints is empty: give one",
        )
        require("fallback", bool(self.checkpoints) or not self.fallback, "empty where checkpoints is")
        apart = not self.fallback or place_of(self.fallback) != place_of(self.checkpoints)
        require("fallback", apart, "another place than checkpoints")
        require("evaluate_every", self.evaluate_every >= 0, "0 (only at the end) or a number of steps")
        require("metrics_port", 0 <= self.metrics_port < 65536, "0 (none) or a port")
        tracked = urlsplit(self.mlflow_uri)
        known = not self.mlflow_uri or (tracked.scheme in ("http", "https") and "@" not in tracked.netloc)
        require(
            "mlflow_uri",
            known,
            "empty or http(s)://HOST without a password; that goes in MLFLOW_TRACKING_PASSWORD",
        )
        require(
            "run_id", bool(re.fullmatch(r"[\w.:/+-]*", self.run_id)), "of letters, digits and . _ : / + -"
        )
        require("mlflow_experiment", bool(self.mlflow_experiment), "a name")
        require("seed", self.seed >= 0, "0 or more")
        require("warmup", self.warmup >= 0, "0 (none) or more")
        require("final_fraction", 0 <= self.final_fraction <= 1, "between 0 and 1")
        require("weight_decay", 0 <= self.weight_decay < inf, "0 or more and finite")
        require("precision", self.precision in ("fp32", "bf16", "fp8"), "fp32, bf16 or fp8")
        require("compile", self.compile in ("auto", "on", "off"), "auto, on or off")
        require("parallel", self.parallel in ("ddp", "fsdp"), "ddp or fsdp")
        require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        require("pattern", bool(self.pattern), "a file name pattern")
        require("output", bool(self.output), "a path, file://, s3:// or gs:// address")
        parts = world * max(1, self.accumulate)
        if self.batch < parts:
            of_parts = f" times accumulate={self.accumulate}" if self.accumulate > 1 else ""
            found.append(
                f"batch={self.batch}: must be at least 1 sequence for each of the {world} workers{of_parts}; "
                f"try {parts} or more, or fewer workers"
            )
        for name in ("output", "data"):
            try:
                place(name, getattr(self, name))
            except ConfigError as error:
                found += error.problems
        try:
            check_apart(self.output, **{name: getattr(self, name) for name in APART})
        except OutputRefused as error:
            found.append(str(error))
        return found + self.model.problems()


def local_path(name: str, value: str) -> Path:
    """The local folder that a path or file:// URI names; raises ConfigError for any other scheme."""
    parts = urlsplit(value)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return Path(unquote(parts.path))
    if "://" in value or value.startswith("file:"):
        raise ConfigError(
            f"{name}={value!r}: must be a path, file:///absolute/path, s3://bucket/folder or gs://bucket/folder; "
            "mount any other store and give the mounted folder"
        )
    return Path(value)


def place(name: str, value: str) -> Path | str:
    """The local folder or the object store's address that a setting names; raises ConfigError for any other."""
    if not is_remote(value):
        return local_path(name, value)
    try:
        open_address(value)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{name}: {error}") from error
    return value.rstrip("/")


def shown(output: Path | str) -> str:
    """The address of a place, as the last line of a command tells it."""
    return output.absolute().as_uri() if isinstance(output, Path) else output


def parse(arguments: Sequence[str], world: int) -> TrainConfig:
    """The settings given by flags, defaults for the rest; the model's start from its preset or from `init`'s folder.

    Raises RemoteError; ConfigError with every mistake in them: unknown flags, values of the wrong kind, broken rules.
    """
    (run, shape), problems = read_flags("workloads.training.train", arguments, TrainConfig, ModelConfig)
    if named := run.get("init"):
        if "preset" in run:
            problems.append(
                f"preset={run['preset']!r}: must be left out where init={named!r} gives the shape"
            )
        model = warm_start.shape(warm_start.open_folder(place("init", named)), shape)
    else:
        preset = PRESETS.get(run.get("preset", TrainConfig.preset), ModelConfig())
        model = replace(preset, **shape)
    config = TrainConfig(**run, model=model)
    problems += config.problems(world)  # an unreadable field has its default here, which breaks no rule
    if problems:
        raise ConfigError(*problems)
    return config
