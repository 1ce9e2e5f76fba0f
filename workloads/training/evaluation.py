"""How well a model reads text that it was not trained on."""

import math

import numpy as np
import torch

from workloads.training.config import TrainConfig
from workloads.training.data import Corpus, evaluation_starts, windows
from workloads.training.model import LanguageModel
from workloads.training.step import losses, on_device
from workloads.training.workers import Workers


@torch.no_grad()
def evaluate(
    model: LanguageModel, corpus: Corpus, config: TrainConfig, workers: Workers, device: torch.device
) -> tuple[float, int]:
    """Bits per held-out byte and how many bytes were scored, the same on every worker.

    The windows are fixed by the corpus and the settings and shared out over the workers. Each starts cold, so
    its first token is guessed from one only: the number is a little worse than reading documents whole. Where a token
    is more than a byte, the bytes are those of the scored tokens at the held-out side's mean length. As many rows are
    read at a time as in training, for which the memory was enough.
    """
    tokens, end = corpus.held_out, corpus.tokenizer.end_of_text
    at_least = math.ceil(config.evaluation_bytes / corpus.bytes_per_token)
    starts = evaluation_starts(len(tokens), config.model.context, at_least)
    # A sharded model is read by all workers at once: each takes as many rows, those too many count for nothing.
    each = -(-len(starts) // workers.world)
    mine = np.arange(each) * workers.world + workers.rank
    totals = torch.zeros(2, dtype=torch.float64, device=device)  # nats, tokens
    at_once = config.batch // workers.world // config.accumulate
    for at in range(0, each, at_once):
        numbers = mine[at : at + at_once]
        rows = on_device(windows(tokens, starts[numbers % len(starts)], config.model.context), device)
        counts = torch.from_numpy(numbers < len(starts)).to(device)[:, None]
        is_text = (rows[:, 1:] != end) & counts
        totals[0] += losses(model, rows, config)[is_text].double().sum()
        totals[1] += is_text.sum()
    nats, scored = workers.sum(totals).tolist()
    scored_bytes = scored * corpus.bytes_per_token
    return nats / scored_bytes / math.log(2), round(scored_bytes)
