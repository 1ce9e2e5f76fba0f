"""The tables of counts that a model is compared with are as good as they say: no guess is worth more than it may be."""

import numpy as np
import pytest

from bench.ngrams import gzip_bits_per_byte, ngram_bits_per_byte, ngram_probabilities, scored
from workloads.training.tokens import END_OF_TEXT, VOCABULARY

TRAINING = np.frombuffer(b"the cat sat on the mat, that cat; then the rat sat on that mat " * 3, np.uint8)


@pytest.mark.parametrize("context", [b"the", b"tha", b"xyz"])
def test_the_guesses_for_what_follows_add_up_to_one_in_seen_and_unseen_contexts(context: bytes) -> None:
    held_out = np.array([[*context, token] for token in range(VOCABULARY)]).ravel()
    positions = np.arange(3, len(held_out), 4)
    for guess in ngram_probabilities(TRAINING, held_out, positions, order=4):
        assert guess.min() > 0 and guess.sum() == pytest.approx(1)


def test_a_longer_context_helps_where_the_text_is_like_the_training_side_and_ends_of_text_are_not_scored() -> (
    None
):
    held_out = np.array([END_OF_TEXT, *b"then the cat sat", END_OF_TEXT, *b"on the mat, that", END_OF_TEXT])
    positions = scored(held_out, context=4, at_least=1000)
    assert END_OF_TEXT not in held_out[positions] and len(positions) == 31
    one, two, three, _ = ngram_bits_per_byte(TRAINING, held_out, positions, order=4)
    assert three < two < one < 8
    assert gzip_bits_per_byte(held_out, positions) > 8  # its header alone is longer than what it saves here
