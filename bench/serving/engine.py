"""Our engine without the server around it: python -m bench.serving.engine URI DIGEST [COMPILED] < inputs."""

import math
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from bench.serving import contender
from workloads.serving.artifact import open_artifact
from workloads.serving.compile import FastLayers, file_name
from workloads.serving.model import Decoder
from workloads.serving.scheduler import Scheduler
from workloads.serving.storage import read_tensors
from workloads.serving.terms import Options, Piece

POSITIONS = 32 * 128


class Ours:
    """Scores are those of the plain path; answers take the compiled layers where they are given."""

    def __init__(self, uri: str, digest: str, compiled: str = "") -> None:
        torch.set_num_threads(contender.THREADS)
        artifact = open_artifact(Path(uri.removeprefix("file://")), digest)
        self._decoder = Decoder(artifact.architecture, read_tensors(artifact.weights))
        self._tokenizer = Tokenizer.from_str(artifact.tokenizer)
        if compiled:
            self._decoder.fast = FastLayers(
                Path(compiled) / file_name(artifact, contender.THREADS, self._decoder.device), self._decoder
            )

    def answer(self, prompts: list[list[int]], tokens: int) -> list[float]:
        scheduler = Scheduler(self._decoder, self._tokenizer, POSITIONS)
        for prompt in prompts:
            scheduler.admit(prompt, Options(tokens, temperature=0, min_tokens=tokens))
        steps: list[float] = []
        while len(steps) < tokens:
            made = [piece for _, piece in scheduler.step() if isinstance(piece, Piece)]
            if len(made) == len(prompts):  # before that, prompts are read
                steps.append(time.perf_counter())
        return steps

    def bits(self, window: list[int]) -> float:
        ids = torch.tensor(window)
        scores = self._decoder.all_logits(ids)[:-1]
        return float(functional.cross_entropy(scores, ids[1:], reduction="sum")) / math.log(2)


if __name__ == "__main__":
    contender.main(Ours(*sys.argv[1:]))
