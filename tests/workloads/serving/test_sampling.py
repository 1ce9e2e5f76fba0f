"""The next token is chosen after each answer's own options."""

import random as numbers
from collections import Counter

import pytest
import torch

from workloads.serving.sampling import NUCLEUS, Sampler, draw
from workloads.serving.terms import Options

CHANCES = torch.tensor([0.1, 0.5, 0.05, 0.35])
END = frozenset({3})


def seen(options: Options, scores: torch.Tensor, times: int = 600) -> set[int]:
    random = torch.Generator().manual_seed(0)
    return {draw(scores.clone(), options, random) for _ in range(times)}


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        (Options(1), {0, 1, 2, 3}),
        (Options(1, top_p=0.8), {1, 3}),
        (Options(1, top_p=0.0), {1}),
        (Options(1, top_k=3), {0, 1, 3}),
        (Options(1, top_k=1), {1}),
        (Options(1, top_k=3, top_p=0.5), {1}),  # of what top_k leaves, 0.5 is more than half
        (Options(1, temperature=0), {1}),
        (Options(1, temperature=0.01), {1}),
    ],
)
def test_only_the_tokens_that_the_options_allow_are_ever_drawn(options: Options, tokens: set[int]) -> None:
    assert seen(options, CHANCES.log()) == tokens


def test_top_p_reaches_as_far_as_it_must_where_chances_are_flat() -> None:
    flat = torch.linspace(0.01, 0, 4 * NUCLEUS)  # nearly, so that it is sure which come first
    assert max(seen(Options(1, top_p=0.9), flat, 3000)) > 2 * NUCLEUS


def chosen(options: Options, scores: torch.Tensor, times: int) -> list[int]:
    sampler = Sampler(options, END)
    return [sampler.choose(scores.clone()) for _ in range(times)]


def test_a_seed_repeats_an_answer_and_none_does_not() -> None:
    flat = torch.zeros(1000)
    assert chosen(Options(9, seed=4), flat, 9) == chosen(Options(9, seed=4), flat, 9)
    assert chosen(Options(9), flat, 9) != chosen(Options(9), flat, 9)


def test_penalties_turn_to_the_next_token_once_or_each_time() -> None:
    scores = torch.tensor([0.0, 2.0, 1.5, -9.0])
    assert chosen(Options(9, temperature=0, presence_penalty=1.0), scores, 4) == [1, 2, 1, 1]
    assert chosen(Options(9, temperature=0, frequency_penalty=1.0), scores, 5) == [1, 2, 1, 2, 0]


def test_a_bias_moves_a_token_before_all_else() -> None:
    assert chosen(Options(9, temperature=0, logit_bias=((2, 5.0),)), torch.zeros(4), 2) == [2, 2]


def test_any_biases_and_penalties_are_those_of_the_plain_formula() -> None:
    chance, random = numbers.Random(8), torch.Generator().manual_seed(8)
    for _ in range(20):
        presence, frequency = chance.uniform(-2, 2), chance.uniform(-2, 2)
        bias = tuple(
            (chance.randrange(50), chance.uniform(-2, 2)) for _ in range(30)
        )  # some tokens more than once
        options = Options(
            99, temperature=0, presence_penalty=presence, frequency_penalty=frequency, logit_bias=bias
        )
        sampler = Sampler(options, frozenset())
        seen: Counter[int] = Counter()
        for _ in range(100):
            scores = 9 * torch.randn(50, generator=random)
            plain = scores.tolist()
            for token, value in bias:
                plain[token] += value
            for token, times in seen.items():
                plain[token] -= presence + frequency * times
            token = sampler.choose(scores)
            assert scores.tolist() == pytest.approx(plain, abs=1e-3) and plain[token] >= max(plain) - 1e-3
            seen[token] += 1


def test_no_end_token_is_chosen_before_the_least_number_of_tokens() -> None:
    likely_end = torch.tensor([1.0, 0.0, 0.0, 9.0])
    assert chosen(Options(9, temperature=0, min_tokens=2), likely_end, 3) == [0, 0, 3]
