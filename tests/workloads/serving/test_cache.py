"""Blocks of the key/value cache are shared, kept and given up by the rules, whatever comes in whatever order."""

import random
from typing import Any

from workloads.serving.cache import BLOCK_TOKENS, Blocks, blocks_for, contents

LONG = list(range(4 * BLOCK_TOKENS))  # four full blocks


def taken(blocks: Blocks, prompt: list[int], positions: int) -> tuple[list[int], int]:
    """What `take` gives, the prompt's full blocks filled."""
    given = blocks.take(prompt, positions)
    assert given is not None
    for block, content in zip(given[0], contents(prompt), strict=False):
        blocks.filled(block, content)
    return given


def test_a_prompt_that_begins_like_an_earlier_one_shares_its_full_blocks_up_to_the_difference() -> None:
    blocks = Blocks(20)
    first, _ = taken(blocks, LONG, 70)
    other = [*LONG[: 2 * BLOCK_TOKENS + 5], 999, *LONG[2 * BLOCK_TOKENS + 6 :]]
    second, shared = taken(blocks, other, 70)
    assert shared == 2 and second[:2] == first[:2] and not set(second[2:]) & set(first)


def test_the_last_token_of_a_prompt_is_never_shared_since_its_scores_are_needed() -> None:
    blocks = Blocks(20)
    taken(blocks, LONG, 70)
    assert taken(blocks, LONG, 70)[1] == 3


def test_a_block_counts_by_all_that_stands_before_it() -> None:
    tail = LONG[BLOCK_TOKENS:]
    assert not set(contents(LONG)) & set(contents([7] * BLOCK_TOKENS + tail))
    assert contents(tail, after=contents(LONG)[0]) == contents(LONG)[1:]


def test_the_longest_unused_blocks_are_given_up_first_and_the_end_of_a_prompt_before_its_beginning() -> None:
    blocks = Blocks(8)
    old, new = LONG, [5] * len(LONG)
    for prompt in (old, new):
        blocks.give_back(taken(blocks, prompt, 64)[0])
    taken(blocks, [1], 2 * BLOCK_TOKENS)  # takes two blocks of the older one
    assert taken(blocks, old, 64)[1] == 2
    assert blocks.take(new, 64) is None, "two blocks of the new one had to go for it"


def test_what_cannot_be_given_changes_nothing() -> None:
    blocks = Blocks(8)
    blocks.give_back(taken(blocks, LONG, 64)[0])
    held, _ = taken(blocks, [1, 2], 3 * BLOCK_TOKENS)
    before = blocks.available, blocks.usage
    assert blocks.take(LONG, 8 * BLOCK_TOKENS) is None
    assert (blocks.available, blocks.usage) == before
    blocks.give_back(held)
    assert blocks.usage == 0


def test_a_prompt_that_waits_for_room_is_read_once() -> None:
    class Prompt(list[int]):
        read = 0

        def __getitem__(self, at: Any) -> Any:
            self.read += 1
            return super().__getitem__(at)

    blocks, waiting = Blocks(8), Prompt(LONG)
    held, _ = taken(blocks, LONG, 6 * BLOCK_TOKENS)
    assert [blocks.take(waiting, 8 * BLOCK_TOKENS) for _ in range(3)] == [None] * 3
    assert waiting.read == 1
    assert taken(blocks, LONG[:9], BLOCK_TOKENS)[1] == 0, "another one is read for itself"
    blocks.give_back(held)
    assert taken(blocks, waiting, 7 * BLOCK_TOKENS)[1] == 3, "what was read before is compared anew"


def test_no_order_of_coming_and_going_loses_a_block_or_gives_one_away_that_somebody_holds() -> None:
    chance = random.Random(5)
    blocks, held = Blocks(30), []
    for _ in range(3000):
        if held and chance.random() < 0.5:
            blocks.give_back(held.pop(chance.randrange(len(held)))[0])
        else:
            prompt = [chance.randrange(2)] * chance.randrange(1, 100)
            positions = len(prompt) + chance.randrange(1, 60)
            before = blocks.available
            given = blocks.take(prompt, positions)
            if given is None:
                assert before < blocks_for(positions)
                continue
            own = set(given[0][given[1] :])
            assert len(given[0]) == blocks_for(positions)
            assert not own & {block for others, _ in held for block in others}
            for block, content in zip(given[0], contents(prompt), strict=False):
                blocks.filled(block, content)
            held.append(given)
        in_use = {block for given, _ in held for block in given}
        assert blocks.available == 30 - len(in_use)
