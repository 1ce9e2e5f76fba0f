"""Published names, cut to a cloud's limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.naming import HASH_DIGITS, labels_of, physical_name
from components.settings.load import load_stack_settings
from tests.unit.settings.files import spoiled

PARTS = st.lists(st.from_regex(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True), min_size=1, max_size=4)
LIMITS = st.integers(min_value=HASH_DIGITS + 2, max_value=80)


@given(PARTS, LIMITS)
def test_a_name_keeps_to_the_limit(parts: list[str], limit: int) -> None:
    assert len(physical_name(*parts, limit=limit)) <= limit


@given(PARTS)
def test_a_name_that_fits_is_left_as_it_is(parts: list[str]) -> None:
    whole = "-".join(parts)
    assert physical_name(*parts, limit=max(len(whole), HASH_DIGITS + 2)) == whole


@given(PARTS, LIMITS)
def test_a_name_begins_and_ends_with_a_letter_or_a_digit(parts: list[str], limit: int) -> None:
    name = physical_name(*parts, limit=limit)
    assert name[0].isalnum() and name[-1].isalnum()


@given(st.text("ab", min_size=30, max_size=40), st.text("ab", min_size=30, max_size=40))
def test_two_names_that_are_cut_stay_two(one: str, other: str) -> None:
    names = {physical_name("the-same-beginning", text, limit=24) for text in (one, other)}
    assert len(names) == len({one, other})


def test_a_limit_that_holds_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="hold no name and its hash. Allow at least 10"):
        physical_name("name", limit=9)


def test_labels_say_where_a_thing_belongs_beside_the_stack_files_own() -> None:
    settings = load_stack_settings(spoiled(labels={"team": "search"}))
    assert labels_of(settings, "local") == {
        "environment": "local",
        "stack": "local",
        "managed-by": "skerry",
        "team": "search",
    }
