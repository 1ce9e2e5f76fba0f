"""Schedulers over published models, and running them step by step."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from workloads.manifest import manifest_digest
from workloads.serving.artifact import open_artifact
from workloads.serving.model import Decoder
from workloads.serving.scheduler import Scheduler
from workloads.serving.sequence import Sequence
from workloads.serving.storage import read_tensors
from workloads.serving.terms import Options, Piece


def scheduler(artifact: Path | dict[str, Any], positions: int = 4096) -> Scheduler:
    """A scheduler over a published folder, or over what publishing printed."""
    folder = artifact if isinstance(artifact, Path) else Path(artifact["uri"].removeprefix("file://"))
    opened = open_artifact(folder, manifest_digest(folder))
    decoder = Decoder(opened.architecture, read_tensors(opened.weights))
    return Scheduler(decoder, Tokenizer.from_str(opened.tokenizer), positions)


def admit(scheduler: Scheduler, prompt: list[int], max_tokens: int, **options: Any) -> Sequence:
    """Let a greedy sequence in; it must fit."""
    sequence = scheduler.admit(prompt, Options(max_tokens, **{"temperature": 0, **options}))
    assert sequence is not None
    return sequence


def run(scheduler: Scheduler, *until: Sequence) -> dict[Sequence, list[Piece]]:
    """Step until all of `until` have ended; every piece of every sequence."""
    pieces: dict[Sequence, list[Piece]] = {}
    open_ones = set(until)
    while open_ones:
        for sequence, piece in scheduler.step():
            assert isinstance(piece, Piece)
            pieces.setdefault(sequence, []).append(piece)
            if piece.finish_reason:
                open_ones.discard(sequence)
    return pieces


def new_tokens(sequence: Sequence) -> list[int]:
    return sequence.tokens[sequence.prompt_tokens :]
