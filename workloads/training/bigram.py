"""The baseline a trained model must beat: the next byte guessed from the one byte before it.

Counted on the whole training side and smoothed by adding one to each of the 257 possible successors, so no
pair costs infinitely many bits. It needs no training and no chance enters: the same corpus gives the same
number.
"""

import math

import numpy as np

from workloads.training.data import Tokens
from workloads.training.tokens import END_OF_TEXT, VOCABULARY

_CHUNK = 1 << 22  # pairs counted at once: bounds the memory for 64-bit pair numbers to some 100 MB


def bigram_bits_per_byte(training: Tokens, held_out: Tokens) -> float:
    """Mean bits per byte of `held_out`; a file's first byte follows END_OF_TEXT, ends are not scored."""
    counts = pair_counts(training)
    bits = np.log2(counts.sum(axis=1, keepdims=True) + VOCABULARY) - np.log2(counts + 1.0)  # (V, V), -log2 p
    scored = pair_counts(held_out)[:, :END_OF_TEXT]
    return math.fsum((bits[:, :END_OF_TEXT] * scored).ravel()) / int(scored.sum())


def pair_counts(tokens: Tokens) -> np.ndarray:
    """How often each token follows each other one, (V, V) int64: row the first, column its successor."""
    counts = np.zeros(VOCABULARY**2, dtype=np.int64)
    for at in range(0, len(tokens) - 1, _CHUNK):
        chunk = tokens[at : at + _CHUNK + 1].astype(np.int64)
        counts += np.bincount(chunk[:-1] * VOCABULARY + chunk[1:], minlength=VOCABULARY**2)
    return counts.reshape(VOCABULARY, VOCABULARY)
