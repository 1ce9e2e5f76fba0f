"""What tables of counts and a compressor make of the held-out bytes that a trained model is scored on.

All see the same targets: those of the evaluation's windows. The tables are counted on the whole training side. They
also see what stands before a window, where the model starts cold: the comparison is a little to their favour.
"""

import math
import subprocess

import numpy as np
from numpy.typing import NDArray

from workloads.training.data import Tokens, evaluation_starts
from workloads.training.tokens import END_OF_TEXT, VOCABULARY

Numbers = NDArray[np.int64]


def scored(held_out: Tokens, context: int, at_least: int) -> Numbers:
    """Where the bytes stand that the evaluation scores, in the order of the text."""
    starts = evaluation_starts(len(held_out), context, at_least)
    positions = (starts[:, None] + np.arange(1, context + 1)).ravel()
    return positions[np.asarray(held_out[positions]) != END_OF_TEXT]


def ngram_bits_per_byte(training: Tokens, held_out: Tokens, positions: Numbers, order: int) -> list[float]:
    """Mean bits of the bytes at `positions`, for n from 1 to `order`."""
    guesses = ngram_probabilities(training, held_out, positions, order)
    return [math.fsum(-np.log2(guess)) / len(positions) for guess in guesses]


def ngram_probabilities(
    training: Tokens, held_out: Tokens, positions: Numbers, order: int
) -> list[NDArray[np.float64]]:
    """How probable each token at `positions` was, guessed from the n - 1 tokens before, for n from 1 to `order`.

    Smoothed by interpolation after Witten and Bell (1991): a context seen C times with T different successors gives the
    share T / (C + T) to the table of one token less, and that falls back in turn; the last is the uniform one.
    """
    guess, found = np.full(len(positions), 1 / VOCABULARY), []
    for n in range(1, order + 1):
        grams, counts = np.unique(keys(training, np.arange(len(training)), n), return_counts=True)
        contexts, first = np.unique(grams // VOCABULARY, return_index=True)
        total, kinds = np.add.reduceat(counts, first), np.diff(first, append=len(grams))
        key = keys(held_out, positions, n)
        count = look_up(grams, counts, key)
        seen, different = (look_up(contexts, table, key // VOCABULARY) for table in (total, kinds))
        with np.errstate(invalid="ignore"):
            guess = np.where(seen > 0, (count + different * guess) / (seen + different), guess)
        found.append(guess)
    return found


def keys(tokens: Tokens, positions: Numbers, n: int) -> Numbers:
    """The n tokens that end at each position as one number; ends of text stand before the first."""
    padded = np.concatenate([np.full(n - 1, END_OF_TEXT), np.asarray(tokens[:])]).astype(np.int64)
    key = np.zeros(len(positions), dtype=np.int64)
    for back in range(n):
        key = key * VOCABULARY + padded[positions + back]
    return key


def look_up(keys: Numbers, values: Numbers, wanted: Numbers) -> Numbers:
    """The value of each wanted key in a sorted table, 0 where it is not there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def gzip_bits_per_byte(held_out: Tokens, positions: Numbers) -> float:
    """8 times the size that `gzip -9` makes of these bytes in one stream; it has not seen the training side."""
    text = np.asarray(held_out[positions]).astype(np.uint8).tobytes()
    squeezed = subprocess.run(["gzip", "-9", "-n", "-c"], input=text, capture_output=True, check=True).stdout
    return 8 * len(squeezed) / len(text)
