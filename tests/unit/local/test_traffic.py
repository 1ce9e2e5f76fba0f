"""Dial and drain as shares of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.local.traffic import SMALLEST_DIAL, Dialled, shares

REGIONS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(Dialled, st.floats(0, 1, allow_nan=False), st.booleans()),
    min_size=1,
).filter(lambda regions: not all(region.drained for region in regions.values()))


@given(REGIONS)
def test_all_requests_go_somewhere(regions: dict[str, Dialled]) -> None:
    result = shares(regions)
    assert sum(result.values()) == pytest.approx(1)
    assert all(share >= 0 for share in result.values())


@given(REGIONS)
def test_a_drained_region_is_not_even_there_to_take_over(
    regions: dict[str, Dialled],
) -> None:
    assert set(shares(regions)) == {name for name, region in regions.items() if not region.drained}


@given(REGIONS, st.sampled_from(["a", "b", "c", "d"]))
def test_a_region_dialled_to_zero_gets_nothing_while_another_is_open(
    regions: dict[str, Dialled], name: str
) -> None:
    regions = {**regions, name: Dialled(0, False), "other": Dialled(1, False)}
    assert shares(regions)[name] == 0


def test_full_dials_share_equally() -> None:
    assert shares({"a": Dialled(1, False), "b": Dialled(1, False)}) == {
        "a": 0.5,
        "b": 0.5,
    }


def test_a_dial_is_a_share_of_what_is_routed_to_the_region_not_a_weight_between_regions() -> None:
    assert shares({"a": Dialled(0.5, False), "b": Dialled(1, False)}) == {
        "a": 0.25,
        "b": 0.75,
    }


def test_a_dial_below_what_a_proxy_can_weigh_is_zero() -> None:
    assert shares({"a": Dialled(0.0004, False), "b": Dialled(1, False)}) == {"a": 0.0, "b": 1.0}
    assert shares({"a": Dialled(SMALLEST_DIAL, False), "b": Dialled(1, False)})["a"] > 0


def test_dials_at_zero_everywhere_are_no_outage() -> None:
    assert shares({"a": Dialled(0, False), "b": Dialled(0, False)}) == {
        "a": 0.5,
        "b": 0.5,
    }


def test_no_region_left_is_refused() -> None:
    with pytest.raises(ValueError, match="every region is drained"):
        shares({"a": Dialled(1, True)})
