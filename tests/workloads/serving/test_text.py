"""Text given out piece by piece is the same text, in whole characters, and ends where it should."""

import itertools
import random

import pytest
from tokenizers import Tokenizer, decoders, models

from tests.workloads.serving.conftest import byte_tokenizer
from workloads.serving.text import Detokenizer, StopStrings

TOKENIZER = byte_tokenizer()


def metaspace_tokenizer() -> Tokenizer:
    """As Llama 2's: a word carries the space before it, the first one's is stripped, and other bytes are tokens."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "é"]
    words += ["▁The", "▁city", "▁is", "▁Paris", "▁nice"]
    vocabulary = {word: token for token, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "<|user|>"])
    return tokenizer


METASPACE = metaspace_tokenizer()


def ids(*words: str, tokenizer: Tokenizer = METASPACE) -> list[int]:
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[word] for word in words]


def from_bytes(text: bytes) -> list[int]:
    return ids(*(f"<0x{byte:02X}>" for byte in text))


def in_pieces(tokenizer: Tokenizer, prompt: list[int], tokens: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer, prompt)
    return [*map(detokenizer.add, tokens), detokenizer.finish()]


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
    for _ in range(300):
        tokens = [chance.randrange(257) for _ in range(chance.randrange(1, 24))]
        assert "".join(in_pieces(TOKENIZER, TOKENIZER.encode("é").ids, tokens)) == TOKENIZER.decode(tokens)


def test_tokens_that_all_end_within_a_character_add_up_to_their_text_and_are_given_meanwhile() -> None:
    """As in vocabularies for Thai, whose merges cross characters."""
    text = "สวัสดีชาวโลก"
    stand_ins = TOKENIZER.encode(text).tokens  # one per byte, three to a character
    parts = ["".join(stand_ins[max(at, 0) : at + 3]) for at in range(-1, len(stand_ins), 3)]
    tokenizer = Tokenizer(
        models.BPE(vocab={part: at for at, part in enumerate(dict.fromkeys(parts))}, merges=[])
    )
    tokenizer.decoder = decoders.ByteLevel()
    pieces = in_pieces(tokenizer, [], ids(*parts, tokenizer=tokenizer))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 4


@pytest.mark.parametrize(
    ("prompt", "tokens", "text"),
    [
        (["<s>", "▁The", "▁city", "▁is"], ["▁Paris", "▁Paris"], " Paris Paris"),
        (["<s>", "▁The", "▁city", "▁is", "<|user|>"], ["▁Paris"], " Paris"),
        (["▁is", *["<0xE6>", "<0x97>", "<0xA5>"] * 9], ["▁nice"], " nice"),
        (["▁is"], ["▁Paris", "<s>", "▁is", "<s>", "▁nice"], " Paris is nice"),
        (["▁is"], ["▁", "▁", "▁nice", "▁"], "   nice "),
        (["▁is"], ["<0xE6>", "<0x97>", "<0xA5>", "▁is", "<0xE6>", "<0x97>", "<0xA5>", "é"], "日 is日é"),
        (["<s>"], ["▁Paris", "▁is"], "Paris is"),
        (["<s>"], ["<s>"] * 9 + ["▁", "▁", "▁", "▁is"], "   is"),
        ([], ["<0xE6>", "<0x97>", "<0xA5>", "▁is"], "日 is"),
    ],
)
def test_an_answer_goes_on_behind_its_prompt_as_decoding_both_at_once_does(
    prompt: list[str], tokens: list[str], text: str
) -> None:
    before, after = ids(*prompt), ids(*tokens)
    assert METASPACE.decode(before + after) == METASPACE.decode(before) + text
    assert "".join(in_pieces(METASPACE, before, after)) == text


def test_any_answer_of_whole_characters_goes_on_as_decoding_at_once_does() -> None:
    chance = random.Random(4)
    parts = [["▁"], ["é"], ["<s>"], ["▁nice"], [f"<0x{byte:02X}>" for byte in "🎉".encode()], ["<0x0A>"]]

    def some() -> list[int]:
        return ids(*itertools.chain(*chance.choices(parts, k=chance.randrange(12))))

    for _ in range(300):
        prompt, answer = chance.choice([ids("<s>"), ids("▁is") + some()]), some()
        text = METASPACE.decode(prompt + answer)[len(METASPACE.decode(prompt)) :]
        assert "".join(in_pieces(METASPACE, prompt, answer)) == text


def test_any_answer_behind_any_prompt_of_bytes_goes_on_as_the_librarys_own_stream_does() -> None:
    """Japanese, Thai and others that a vocabulary has no words for: no token of the prompt is text by itself."""
    chance = random.Random(5)
    parts = [["▁nice"], ["▁"], ["é"], ["<s>"], ["▁Paris"], [f"<0x{byte:02X}>" for byte in "日".encode()]]
    for case in range(600):
        text = chance.choice(["日本語のテキスト", "สวัสดีชาวโลก", "🎉é"]) * chance.choice([1, 2, 7, 40])
        prompt = ids(*chance.choice([[], ["<s>"]])) + from_bytes(text.encode())
        answer = ids(*itertools.chain(*chance.choices(parts, k=chance.randrange(1, 8))))
        stream = decoders.DecodeStream(ids=prompt, skip_special_tokens=True)
        expected = "".join(stream.step(METASPACE, token) or "" for token in answer)
        assert "".join(in_pieces(METASPACE, prompt, answer)) == expected, case


@pytest.mark.parametrize("cut", [1, 2])
def test_a_prompt_of_token_numbers_that_ends_within_a_character_gives_none_of_itself(cut: int) -> None:
    prompt = from_bytes("日本".encode())[:-cut]
    assert "".join(in_pieces(METASPACE, prompt, ids("▁nice", "▁is"))) == " nice is"


@pytest.mark.parametrize("tokenizer", [TOKENIZER, METASPACE])
def test_bytes_that_never_become_a_character_are_given_up_before_long(tokenizer: Tokenizer) -> None:
    [broken] = ids(
        "æ" if tokenizer is TOKENIZER else "<0xE6>", tokenizer=tokenizer
    )  # begins a character of three
    detokenizer, given = Detokenizer(tokenizer), ""
    for made in range(1, 40):
        given += detokenizer.add(broken)
        assert made - 4 < len(given) <= made
    assert given + detokenizer.finish() == "\ufffd" * 39


def test_text_behind_a_broken_byte_is_whole_with_byte_fallback_too() -> None:
    broken = from_bytes(b"\xff" * 9)
    for tail, text in ((["▁is", "▁nice"], " is nice"), (["é", "▁nice"], "é nice")):
        assert "".join(in_pieces(METASPACE, ids("▁is"), broken + ids(*tail))) == "\ufffd" * 9 + text
    whole = in_pieces(METASPACE, ids("▁is"), from_bytes("日".encode() + b"\xff") + ids("▁nice"))
    assert "".join(whole) == "日\ufffd nice"


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_a_stop_string_is_found_across_pieces_and_nothing_of_it_is_given(step: int) -> None:
    stops = StopStrings(["END", "\n\n"])
    text = "an ENormous E\nEND and more"
    given = "".join(stops.add(text[at : at + step]) for at in range(0, len(text), step)) + stops.finish()
    assert given == "an ENormous E\n" and stops.stopped


def test_the_beginning_of_a_stop_string_at_the_very_end_is_given() -> None:
    stops = StopStrings(["END"])
    assert stops.add("the EN") == "the " and stops.finish() == "EN" and not stops.stopped
