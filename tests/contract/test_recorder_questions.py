"""What a recording is asked is answered, and a wrong expectation is told what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.boxes import ANSWERS, Box, Provider, Thing, inside
from tests.recorder import Recording, absent, anything, containing, json_text, matching, record, unknown

WHOLE: dict[str, Any] = {
    "color": "red",
    "count": 3,
    "open": False,
    "labels": {"team": "ai", "tier": "hot"},
    "ports": [80, {"name": "metrics", "port": 9090}],
    "policy": json.dumps({"Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"]}]}),
}


def things(*inputs: Mapping[str, Any]) -> Recording:
    """A box with things `a`, `b`, ... of these inputs."""

    def children(box: Box, _: Any) -> None:
        for name, given in zip("abc", inputs, strict=False):
            Thing(name, inside(box), given)

    return record(lambda: Box("box", children), ANSWERS)


MATCHES: list[dict[str, Any]] = [
    {},
    {"color": "red", "count": 3},
    {"labels": {"team": "ai"}},
    {"ports": [80, {"port": 9090}]},
    {"ports": containing({"name": "metrics"})},
    {"ports": containing({"port": 9090}, 80)},
    {"ports": containing()},
    {"color": matching("^r.d$"), "labels": {"tier": matching("o")}},
    {"count": anything, "open": anything},
    {"shape": absent, "labels": {"owner": absent}},
    {"policy": json_text({"Statement": [{"Action": containing("s3:GetObject")}]})},
]
DIFFERS: list[tuple[dict[str, Any], str]] = [
    ({"color": "blue"}, "color: expected 'blue', found 'red'"),
    ({"count": 3, "open": 0}, "open: expected 0, found False"),
    ({"open": True}, "open: expected True, found False"),
    ({"labels": {"team": "ai", "tier": "cold"}}, "labels.tier: expected 'cold', found 'hot'"),
    ({"labels": {"owner": "me"}}, "labels.owner: expected 'me', found nothing"),
    ({"labels": "ai"}, "labels: expected 'ai', found {"),
    ({"color": {"hue": 1}}, "color: expected {'hue': 1}, found 'red'"),
    ({"count": [3]}, "count: expected [3], found 3"),
    ({"color": ["r", "e", "d"]}, "color: expected ['r', 'e', 'd'], found 'red'"),
    ({"ports": [80]}, "ports: expected [80], found [80"),
    ({"ports": [80, {"port": 1}]}, "ports[1].port: expected 1, found 9090"),
    ({"ports": [{"port": 9090}, 80]}, "ports[1]: expected 80, found {"),
    ({"ports": containing(80, 81)}, "ports: expected containing(80, 81), found [80"),
    ({"color": containing("r")}, "color: expected containing('r'), found 'red'"),
    ({"color": matching("^e")}, "color: expected matching('^e'), found 'red'"),
    ({"count": matching("3")}, "count: expected matching('3'), found 3"),
    ({"shape": anything}, "shape: expected anything, found nothing"),
    ({"color": absent}, "color: expected absent, found 'red'"),
    ({"policy": json_text({"Statement": [{"Effect": "Deny"}]})}, "policy: expected json_text("),
    ({"color": json_text({})}, "color: expected json_text({}), found 'red'"),
    ({"shape": json_text({})}, "shape: expected json_text({}), found nothing"),
    ({"color": unknown}, "color: expected unknown, found 'red'"),
]


@pytest.mark.parametrize("pattern", MATCHES, ids=str)
def test_a_pattern_matches_what_holds_it_and_more(pattern: dict[str, Any]) -> None:
    recording = things(WHOLE)
    assert recording.expect("Thing", pattern).name == "a"
    with pytest.raises(AssertionError, match="'a' matches"):
        recording.none("Thing", pattern)


@pytest.mark.parametrize(("pattern", "words"), DIFFERS, ids=[words for _, words in DIFFERS])
def test_a_pattern_that_differs_is_told_where(pattern: dict[str, Any], words: str) -> None:
    recording = things(WHOLE)
    with pytest.raises(AssertionError) as caught:
        recording.expect("Thing", pattern)
    assert words in str(caught.value)
    recording.none("Thing", pattern)


def test_what_is_expected_is_found_among_others() -> None:
    assert things({"count": 1}, {"count": 2}).expect("Thing", {"count": 2}).name == "b"


def test_an_expectation_that_nothing_meets_shows_the_closest_with_its_inputs() -> None:
    recording = things({"count": 1}, {"count": 2, "open": True}, {"open": True})
    with pytest.raises(AssertionError, match="no Thing matches, of 3. The closest is 'b':") as caught:
        recording.expect("Thing", {"count": 2, "open": True, "color": "blue"})
    assert "color: expected 'blue', found 'red'" in str(caught.value)
    assert '"count": 2' in str(caught.value) and "count: expected" not in str(caught.value)


def test_an_unknown_value_matches_unknown_and_anything_and_nothing_that_is_known() -> None:
    def children(box: Box, _: Any) -> None:
        Thing("a", inside(box), {"from": Provider("test").id})

    recording = record(lambda: Box("box", children), ANSWERS, preview=True)
    recording.expect("Thing", {"from": unknown})
    recording.expect("Thing", {"from": anything})
    recording.none("Thing", {"from": 7})
    with pytest.raises(AssertionError, match="from: expected 7, found unknown"):
        recording.expect("Thing", {"from": 7})


@pytest.mark.parametrize("kind", ["test:index:Thing", "index:Thing", ":Thing", "Thing"])
def test_a_type_is_named_by_its_token_or_by_an_ending_of_it(kind: str) -> None:
    assert things({}).one(kind).kind == "test:index:Thing"


@pytest.mark.parametrize("kind", ["hing", "dex:Thing", "test:index", "thing", ""])
def test_half_a_word_names_no_type(kind: str) -> None:
    recording = things({})
    assert recording.of(kind) == []
    with pytest.raises(AssertionError, match="there is no .*Registered:\n  skerry:index:Box 'box'\n  test"):
        recording.expect(kind, {})


def test_one_of_several_is_asked_for_by_name() -> None:
    recording = things({}, {"count": 2})
    assert recording.one("Thing", "b").inputs["count"] == 2
    with pytest.raises(AssertionError, match="expected one Thing, found 2. Registered:\n(.*\n)*.*Thing 'b'"):
        recording.one("Thing")
    with pytest.raises(AssertionError, match="expected one Thing 'z', found 0."):
        recording.one("Thing", "z")


def test_resources_are_counted() -> None:
    recording = things({}, {})
    recording.count("Thing", 2)
    recording.count("Cup", 0)
    for number in (1, 3):
        with pytest.raises(
            AssertionError, match=f"expected {number} of Thing, found 2. Registered:\n(.*\n)*.*'b'"
        ):
            recording.count("Thing", number)


def test_that_none_of_nothing_matches_is_no_answer() -> None:
    with pytest.raises(AssertionError, match="there is no Cup"):
        things({}).none("Cup", {"color": "red"})
