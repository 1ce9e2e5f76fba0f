"""A little held-out text that lies in the artifact, and what the published model made of it.

The same text can so be measured again wherever the model runs, whatever Python's library there holds: a replica that
computes something else than what was published shows in the figure. Only decoders are measured: the digits of an
encoder's vectors depend on the number of threads, and the manifest's digest should not.
"""

import json
import mmap
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from workloads.held_out import held_out_excerpts
from workloads.serving.architecture import Architecture
from workloads.serving.artifact import CANARY
from workloads.serving.device import find_device
from workloads.serving.model import Decoder
from workloads.serving.quality import rate, windows
from workloads.serving.source import Source
from workloads.serving.storage import read_tensors

TEXT_BYTES = 6000  # four documents; a figure per model, not a judgement: that was made on more
WINDOW = 64  # tokens of a pass: what a request may have to wait for, and as the scheduler cuts prompts beside answers


def write_canary(folder: Path, source: Source, weights: str) -> dict[str, Any]:
    """Write the text into `folder` and return the manifest's facts about it; nothing of both for an encoder."""
    if not isinstance(source.architecture, Architecture):
        return {}
    texts = held_out_excerpts(TEXT_BYTES)
    (folder / CANARY).write_text(json.dumps({"texts": texts}) + "\n", encoding="utf-8")
    with open(folder / weights, "rb") as file:
        written = read_tensors(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), find_device(None))
    decoder = Decoder(source.architecture, written)
    value = rate(windows(decoder, Tokenizer.from_str(source.tokenizer), texts, WINDOW))
    # rounded as the quality is
    return {"canary": {"measure": "bits per byte", "value": round(value, 3)}}
