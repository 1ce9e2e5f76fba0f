"""What quantization costs, measured on the file that was written, and where publishing says no.

A decoder is judged by bits per byte on held-out text (workloads/held_out.py) and by how far its greedy answers are
those of the source; an encoder by the cosine between its embeddings and the source's, and by whether each text's
nearest neighbour stays the same. The source is computed in fp32; above LARGE parameters in bf16, which takes a fifth
of the time, and shows no loss for scheme bf16.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from workloads.held_out import held_out_excerpts
from workloads.serving.architecture import Architecture
from workloads.serving.encoder import Encoder
from workloads.serving.encoder_architecture import EncoderArchitecture
from workloads.serving.model import Decoder
from workloads.serving.schemes import Scheme

LARGE = 20_000_000  # parameters
WINDOW = 512  # tokens of a pass
ANSWER_TOKENS = 12
PROMPTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "Once upon a time there was a",
    "The three primary colours are",
    "def fibonacci(n):\n    ",
    "import os\n\nfor name in os.",
    "class Stack:\n    def __init__(self",
    "To be or not to be, that is",
)


class TooMuchLost(Exception):
    """The quantized model is worse than allowed; the message gives both numbers and the remedy."""


@dataclass(frozen=True, slots=True)
class Gate:
    """How a model is judged before it is published."""

    max_loss_percent: float | None = None
    """Largest rise of bits per byte (or fall of the cosine), in per cent; None takes the scheme's own."""
    text_bytes: int = 100_000
    """Held-out text to judge on; less is for tests."""
    prompts: tuple[str, ...] = PROMPTS
    """What greedy answers are compared on; fewer are for tests."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found; goes into the manifest."""

    measure: str
    before: float
    after: float
    loss_percent: float
    agreement: float
    """Share of greedy tokens before the first that differs, or of texts that keep their nearest neighbour."""
    text_bytes: int
    reference: str
    """The dtype in which the source was computed."""


def judge(
    source: Decoder | Encoder,
    written: Decoder | Encoder,
    tokenizer: Tokenizer,
    name: str,
    scheme: Scheme,
    gate: Gate,
) -> Quality:
    """Compare the model that was `written` with its `source`. Raises TooMuchLost, naming both numbers."""
    excerpts = held_out_excerpts(gate.text_bytes)
    if isinstance(source, Encoder) and isinstance(written, Encoder):
        found = _encoders(source, written, excerpts)
    elif isinstance(source, Decoder) and isinstance(written, Decoder):
        found = _decoders(source, written, tokenizer, excerpts, gate.prompts)
    else:
        raise TypeError("a decoder is compared with a decoder")
    limit = scheme.max_loss_percent if gate.max_loss_percent is None else gate.max_loss_percent
    if not found.loss_percent <= limit:  # also where a number is none
        raise TooMuchLost(
            f"--scheme {name!r}: {found.measure} went from {found.before:.4f} to {found.after:.4f}, a loss of "
            f"{found.loss_percent:.2f} %, at most {limit:g} % is allowed (agreement {found.agreement:.0%}); take a "
            "scheme with more bits, look at the source's outliers, or raise --max-loss-percent if that is meant"
        )
    return found


def reference(
    architecture: Architecture | EncoderArchitecture, tensors: dict[str, torch.Tensor], tokenizer: str
) -> Decoder | Encoder:
    """The source as it is measured: fp32, or bf16 above LARGE parameters."""
    if sum(tensor.numel() for tensor in tensors.values()) > LARGE and isinstance(architecture, Architecture):
        tensors = {
            name: tensor.to(torch.bfloat16) if tensor.ndim == 2 else tensor
            for name, tensor in tensors.items()
        }
    return load_model(architecture, tensors, tokenizer)


def load_model(
    architecture: Architecture | EncoderArchitecture, tensors: dict[str, torch.Tensor], tokenizer: str
) -> Decoder | Encoder:
    """The model of stored `tensors`."""
    if isinstance(architecture, EncoderArchitecture):
        return Encoder(architecture, tensors, Tokenizer.from_str(tokenizer))
    return Decoder(architecture, tensors)


def bits_per_byte(decoder: Decoder, tokenizer: Tokenizer, excerpts: list[str]) -> float:
    """Bits that `decoder` needs for a byte of ASCII `excerpts`; the first token of a window is given."""
    return rate(windows(decoder, tokenizer, excerpts, WINDOW))


def windows(
    decoder: Decoder, tokenizer: Tokenizer, excerpts: list[str], size: int
) -> Iterator[tuple[float, int]]:
    """Bits and bytes of one window of at most `size` tokens after the other, a pass for each when it is asked for."""
    size = min(size, decoder.architecture.context_length)
    for text in excerpts:
        for window in torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids).split(size):
            if window.numel() > 1:
                scores, next_ones = decoder.all_logits(window)[:-1], window[1:]
                loss = functional.cross_entropy(scores, next_ones.to(scores.device), reduction="sum")
                yield float(loss) / math.log(2), len(tokenizer.decode(window[1:].tolist()))


def rate(found: Iterable[tuple[float, int]]) -> float:
    """Bits per byte of windows together."""
    bits, count = map(sum, zip(*found, strict=True))
    return bits / count


def agreement(source: Decoder, written: Decoder, tokenizer: Tokenizer, prompts: tuple[str, ...]) -> float:
    """Share of the greedy tokens of `written` that come before the first one that `source` would not choose.

    The source needs one pass per answer: it is asked what it would have said at each place.
    """
    same = total = 0
    for prompt in prompts:
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        given = tokens = torch.tensor(ids, device=written.device)
        for _ in range(ANSWER_TOKENS):
            tokens = torch.cat((tokens, written.all_logits(tokens)[-1:].argmax(-1)))
        chosen = source.all_logits(tokens)[len(given) - 1 : -1].argmax(-1)
        same += int((chosen == tokens[len(given) :]).cumprod(0).sum())
        total += ANSWER_TOKENS
    return same / total


def _decoders(
    source: Decoder, written: Decoder, tokenizer: Tokenizer, excerpts: list[str], prompts: tuple[str, ...]
) -> Quality:
    before = bits_per_byte(source, tokenizer, excerpts)
    after = before if written is source else bits_per_byte(written, tokenizer, excerpts)
    return _quality(
        "bits per byte",
        before,
        after,
        after / before - 1,
        agreement(source, written, tokenizer, prompts),
        excerpts,
        source,
    )


def _encoders(source: Encoder, written: Encoder, excerpts: list[str]) -> Quality:
    texts = [line for text in excerpts for line in text.splitlines() if len(line) > 30][:128]
    before, after = (torch.tensor(encoder.embed(texts)[0]) for encoder in (source, written))
    cosine = float((before * after).sum(-1).mean())
    nearest = [(each @ each.t()).fill_diagonal_(-1).argmax(-1) for each in (before, after)]
    same = float((nearest[0] == nearest[1]).float().mean())
    return _quality("cosine with the source", 1.0, cosine, 1 - cosine, same, texts, source)


def _quality(
    measure: str,
    before: float,
    after: float,
    loss: float,
    same: float,
    texts: list[str],
    source: Decoder | Encoder,
) -> Quality:
    # rounded: the last digits depend on how many threads sum, and the manifest's digest should not
    return Quality(
        measure,
        round(before, 3),
        round(after, 3),
        round(100 * loss, 2),
        round(same, 3),
        sum(map(len, texts)),
        str(source.dtype).removeprefix("torch."),
    )
