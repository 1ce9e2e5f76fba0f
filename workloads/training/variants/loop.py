"""What every variant runs: model, data, order, optimizer and step of the training program, and a line for each step.

Left out, and refused when asked for: checkpoints, evaluation on the way, a warm start and FSDP. Nothing is exported. A
variant shows that the loop does not depend on its launcher.
"""

import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from workloads.training.config import TrainConfig, parse
from workloads.training.data import load_corpus
from workloads.training.flags import ConfigError
from workloads.training.model import LanguageModel
from workloads.training.optimizer import build_optimizer
from workloads.training.sampler import Sampler
from workloads.training.step import Run, take_step
from workloads.training.workers import Workers

NOT_HERE = (
    "init",
    "checkpoints",
    "parallel",
    "compile",
    "evaluate_every",
    "log",
    "metrics_port",
    "mlflow_uri",
)
"""Settings that only the training program honours."""

Share = Callable[[LanguageModel, TrainConfig, Workers, torch.device], nn.Module]


def loop(arguments: Sequence[str], workers: Workers, share: Share, mean: Callable[[Tensor], Tensor]) -> None:
    """Take all steps. `share` gives the model whose gradients the workers share, `mean` a value's over the workers.

    Raises ConfigError.
    """
    config = parse(arguments, workers.world)
    asked = [name for name in NOT_HERE if getattr(config, name) != getattr(TrainConfig, name)]
    if asked:
        raise ConfigError(f"{', '.join(asked)}: not here; leave out, or run workloads.training.train")
    corpus, device = load_corpus(config), torch.device("cpu")
    torch.manual_seed(config.seed)
    model = LanguageModel(config.model, plain=config.plain)
    sampler = Sampler(len(corpus.training), config.model.context, config.seed)
    parallel = share(model, config, workers, device)
    optimizer = build_optimizer(model, config)
    run = Run(config, workers, device, corpus, sampler, model, optimizer, parallel)
    while run.step < config.steps:
        run.step += 1
        loss, _ = take_step(run)
        loss = float(mean(loss))
        if workers.rank == 0:
            print(json.dumps({"step": run.step, "loss": loss}), flush=True)
