"""transformers as it comes, not compiled: python -m bench.serving.eager FOLDER DTYPE < inputs."""

import math
import sys
import time

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList

from bench.serving import contender


class _Clock(LogitsProcessor):
    """Notes when the scores of each step are there."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(time.perf_counter())
        return scores


class Eager:
    def __init__(self, folder: str, dtype: str) -> None:
        torch.set_num_threads(contender.THREADS)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def answer(self, prompts: list[list[int]], tokens: int) -> list[float]:
        clock, ids = _Clock(), torch.tensor(prompts)
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([clock]),
        )
        return clock.steps

    @torch.inference_mode()
    def bits(self, window: list[int]) -> float:
        ids = torch.tensor(window)
        scores = self._model(ids[None]).logits[0, :-1].float()
        return float(functional.cross_entropy(scores, ids[1:], reduction="sum")) / math.log(2)


if __name__ == "__main__":
    contender.main(Eager(*sys.argv[1:]))
