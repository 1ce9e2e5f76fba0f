"""Address ranges that fit together."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.mistakes import Mistake
from components.settings.networks import ranges_are_sound

BLOCKS = st.integers(0, 255).flatmap(
    lambda second: st.integers(16, 24).map(lambda prefix: IPv4Network(f"10.{second}.0.0/{prefix}"))
)


def mistakes(ranges: dict[str, str], shortest: int = 16, longest: int = 24) -> dict[str, Mistake]:
    found = ranges_are_sound(ranges, dict.fromkeys(ranges, (shortest, longest)))
    return {mistake.path: mistake for mistake in found}


def test_ranges_that_fit_are_no_mistake() -> None:
    assert (
        mistakes({"a": "10.0.0.0/16", "b": "10.1.0.0/24", "c": "192.168.0.0/20", "d": "100.64.0.0/16"}) == {}
    )


@pytest.mark.parametrize(
    ("cidr", "words", "remedy"),
    [
        ("10.0.0.0/25", "128 addresses are too small", "a prefix of /16 to /24"),
        ("10.0.0.0/8", "16777216 addresses are too large", "a prefix of /16 to /24"),
        ("8.8.8.0/24", "not a private range", "10.0.0.0/8"),
        ("10.0.0.1/16", "no range", "the range's first address"),
        ("10.0.300.0/24", "no range", "10.16.0.0/16"),
        ("10.0.0.0/40", "no range", "10.16.0.0/16"),
    ],
)
def test_a_range_that_is_none_or_of_no_use_is_told_with_a_remedy(cidr: str, words: str, remedy: str) -> None:
    mistake = mistakes({"net": cidr})["net"]
    assert words in mistake.rule and remedy in mistake.remedy and mistake.value == cidr


def test_ranges_that_overlap_are_both_named() -> None:
    mistake = mistakes({"first": "10.0.0.0/16", "second": "10.0.128.0/20"})["second"]
    assert "overlaps with first (10.0.0.0/16)" in mistake.rule


@given(st.lists(BLOCKS, min_size=2, max_size=5))
def test_what_is_accepted_shares_no_address(blocks: list[IPv4Network]) -> None:
    ranges = {str(index): str(block) for index, block in enumerate(blocks)}
    shared = any(one.overlaps(other) for i, one in enumerate(blocks) for other in blocks[:i])
    assert bool(mistakes(ranges)) == shared
