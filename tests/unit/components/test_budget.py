"""Nodes of a pool, counted before anything starts."""

from __future__ import annotations

import pytest

from components.budget import Budget
from components.contracts import CapacityError


def place(max_nodes: int, *users: int) -> None:
    """Places users on a new pool, each on so many nodes."""
    budget = Budget("train", "east", max_nodes)
    for index, nodes in enumerate(users):
        budget.take(nodes, f"user {index}")


@pytest.mark.parametrize("users", [(), (3,), (1, 1, 1), (3, 0), (0, 3)])
def test_a_pool_takes_what_fits(users: tuple[int, ...]) -> None:
    place(3, *users)


@pytest.mark.parametrize(("users", "rest"), [((4,), 3), ((2, 2), 1), ((3, 0, 1), 0)])
def test_a_pool_refuses_what_does_not_fit_and_says_what_is_left(users: tuple[int, ...], rest: int) -> None:
    with pytest.raises(CapacityError, match=f"{rest} of 3 left"):
        place(3, *users)


def test_a_refusal_names_pool_and_region_as_the_stack_file_does_and_a_remedy() -> None:
    with pytest.raises(
        CapacityError, match="user 0 asks for 4 nodes of pool 'train' in region 'east'"
    ) as caught:
        place(3, 4)
    assert "Raise the pool's max_nodes" in str(caught.value)
