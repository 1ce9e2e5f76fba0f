"""Text given out piece by piece is the same text, in whole characters, and ends where it should."""

import random

import pytest

from tests.workloads.serving.conftest import byte_tokenizer
from workloads.serving.text import Detokenizer, StopStrings

TOKENIZER = byte_tokenizer()


def test_no_piece_ever_holds_part_of_a_character() -> None:
    text = "aé日🎉 z"
    tokens = TOKENIZER.encode(text).ids
    assert len(tokens) == len(text.encode()), "each character of several bytes must take several tokens"
    detokenizer = Detokenizer(TOKENIZER)
    pieces = [detokenizer.add(token) for token in tokens]
    assert [piece for piece in pieces if piece] == list(text)
    assert detokenizer.finish() == ""


def test_pieces_of_any_bytes_add_up_to_decoding_them_at_once() -> None:
    chance = random.Random(3)
    for _ in range(200):
        tokens = [chance.randrange(257) for _ in range(chance.randrange(1, 24))]
        detokenizer = Detokenizer(TOKENIZER)
        whole = "".join(detokenizer.add(token) for token in tokens) + detokenizer.finish()
        assert whole == TOKENIZER.decode(tokens)


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_a_stop_string_is_found_across_pieces_and_nothing_of_it_is_given(step: int) -> None:
    stops = StopStrings(["END", "\n\n"])
    text = "an ENormous E\nEND and more"
    given = "".join(stops.add(text[at : at + step]) for at in range(0, len(text), step)) + stops.finish()
    assert given == "an ENormous E\n" and stops.stopped


def test_the_beginning_of_a_stop_string_at_the_very_end_is_given() -> None:
    stops = StopStrings(["END"])
    assert stops.add("the EN") == "the " and stops.finish() == "EN" and not stops.stopped
