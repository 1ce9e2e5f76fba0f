import numpy as np
import pytest

from workloads.training.sampler import Sampler

TOKENS, CONTEXT = 1003, 10  # 99 windows an epoch


def sampler(seed: int = 5, position: int = 0) -> Sampler:
    return Sampler(TOKENS, CONTEXT, seed, position)


def test_an_epoch_takes_every_window_once_and_no_two_overlap() -> None:
    starts = np.sort(sampler().take(99))
    assert (np.diff(starts) == CONTEXT).all()
    assert starts[0] >= 0 and starts[-1] + CONTEXT + 1 <= TOKENS


def test_each_epoch_has_an_order_and_cuts_of_its_own() -> None:
    one = sampler()
    first, second = one.take(99), one.take(99)
    assert first.tolist() != second.tolist()
    assert {start % CONTEXT for start in first} != {start % CONTEXT for start in second}
    assert first.tolist() != np.sort(first).tolist()


def test_the_seed_fixes_the_order_and_another_seed_changes_it() -> None:
    assert sampler().take(150).tolist() == sampler().take(150).tolist()
    assert sampler().take(150).tolist() != sampler(seed=6).take(150).tolist()


@pytest.mark.parametrize("position", [0, 7, 98, 99, 150, 1000])
def test_a_sampler_at_a_position_goes_on_where_another_got_to(position: int) -> None:
    whole, before = sampler(), sampler()
    before.take(position)
    assert before.position == position
    assert sampler(position=position).take(120).tolist() == whole.take(position + 120)[position:].tolist()


def test_however_large_the_batches_the_order_is_the_same() -> None:
    single, large = sampler(), sampler()
    assert np.concatenate([single.take(1) for _ in range(250)]).tolist() == large.take(250).tolist()


def test_text_of_one_window_gives_that_window_again_and_again() -> None:
    assert Sampler(11, 10, seed=0).take(3).tolist() == [0, 0, 0]


def test_every_place_of_a_text_is_learned_from_in_some_epoch() -> None:
    one = sampler()
    seen = {place for _ in range(60) for start in one.take(99) for place in range(start, start + CONTEXT + 1)}
    assert seen == set(range(TOKENS))
