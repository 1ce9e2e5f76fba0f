"""No list of a stack file names an entry twice: what a list holds becomes resources with names of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from components.settings.load import load_stack_settings
from components.settings.mistakes import Mistake, SettingsError
from components.settings.model import StackSettings
from tests.contract.targets import TARGETS
from tests.unit.settings.files import FILES, LOCAL, mistakes_of, only_mistake_of, settings_of, spoiled

Place = tuple[str | int, ...]


def lists_in(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all lists that hold something."""
    if isinstance(value, list) and value:
        yield place
    for part, inner in (
        enumerate(value) if isinstance(value, list) else (value.items() if isinstance(value, dict) else ())
    ):
        yield from lists_in(inner, (*place, part))


def at(settings: Any, place: Place) -> Any:
    for part in place:
        settings = settings[part]
    return settings


def path_of(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


LISTS = [(file, place) for file in FILES for place in lists_in(settings_of(file))]


@pytest.mark.parametrize(
    ("file", "place"), LISTS, ids=[f"{file.stem}-{path_of(place)}" for file, place in LISTS]
)
def test_an_entry_that_a_list_holds_twice_is_refused_where_it_stands(file: Any, place: Place) -> None:
    settings = copy.deepcopy(settings_of(file))
    entries = at(settings, place)
    entries.append(copy.deepcopy(entries[-1]))
    with pytest.raises(SettingsError) as caught:
        load_stack_settings(settings)
    last = f"{path_of(place)}[{len(entries) - 1}]"
    (mistake,) = [
        one for one in caught.value.mistakes if one.path in (last, f"{last}.name", f"{last}.destination")
    ]
    assert f"stands 2 times in {path_of(place)}, and a " in mistake.rule and "is given once" in mistake.rule
    assert "emove" in mistake.remedy


def test_every_list_that_the_settings_know_is_in_one_of_these_files() -> None:
    schema = StackSettings.model_json_schema()
    nodes = [schema, *schema["$defs"].values()]
    fields = {name: field for node in nodes for name, field in node.get("properties", {}).items()}
    lists = {
        name
        for name, field in fields.items()
        if "array" in (field.get("type"), (field.get("additionalProperties") or {}).get("type"))
    }
    named = [[part for part in place if part in fields] for _, place in LISTS]
    assert lists and {names[-1] for names in named} >= lists


def test_roles_of_two_accounts_with_one_name_are_told_apart_by_nothing() -> None:
    target = copy.deepcopy(dict(TARGETS["aws"].target))
    target["administrators"] = [
        "arn:aws:iam::111122223333:role/ops/a",
        "arn:aws:iam::444455556666:role/ops-a",
    ]
    mistake = administrators_of(target)
    assert mistake.path == "target.administrators[1]"
    assert "'ops-a'" in mistake.rule and "another name" in mistake.remedy


def administrators_of(target: Any) -> Mistake:
    regions = [{"name": name} for name in TARGETS["aws"].regions]
    return only_mistake_of(
        {"environment": "test", "layers": ["platform"], "target": target, "regions": regions}
    )


def test_two_regions_are_not_read_from_one_stack() -> None:
    regions = [{"name": "east", "stack": "dev-one"}, {"name": "west", "stack": "dev-one"}]
    settings = {
        "environment": "test",
        "layers": ["global"],
        "target": TARGETS["gcp"].target,
        "regions": regions,
    }
    mistake = mistakes_of(settings)["regions[1].stack"]
    assert mistake.rule == "stands 2 times in regions, and a stack is given once"


def test_a_stack_does_not_read_itself() -> None:
    settings = settings_of(next(file for file in FILES if file.stem == "Pulumi.dev-gcp-global"))
    load_stack_settings(settings, "dev-gcp-global")
    itself = settings["regions"][0]["stack"]
    with pytest.raises(SettingsError, match=rf'regions\[0\]\.stack: "{itself}" -- is this stack itself'):
        load_stack_settings(settings, itself)


@pytest.mark.parametrize("sources", ["224.0.0.0/24", "127.0.0.0/8", "169.254.0.0/16", "240.0.0.0/4"])
def test_operators_are_where_a_machine_can_be(sources: str) -> None:
    target = copy.deepcopy(TARGETS["aws"].target)
    region = TARGETS["aws"].regions[0]
    target["networks"][region]["operators"] = [sources]
    mistake = administrators_of(target)
    assert mistake.path == f"target.networks.{region}.operators[0]" and "no other machine" in mistake.rule


def test_an_invalid_name_is_not_offered_as_a_choice() -> None:
    pools = [{**LOCAL["pools"][0], "name": "Big_One"}, LOCAL["pools"][1]]
    found = mistakes_of(spoiled(pools=pools, training=[{**LOCAL["training"][0], "pool": "gone"}]))
    assert set(found) == {"pools[0].name", "training[0].pool"}
    assert found["training[0].pool"].remedy == "Choose one of: serve; or add it to pools"


@pytest.mark.parametrize("key", [key for key in LOCAL if key != "target"])
def test_a_misspelt_key_is_the_only_mistake(key: str) -> None:
    settings = {other: value for other, value in LOCAL.items() if other != key}
    mistake = only_mistake_of({**settings, f"{key}s": LOCAL[key]})
    assert mistake.path == f"{key}s" and mistake.remedy == f"Did you mean {key!r}"


def test_misspelt_layers_bring_no_rules_of_layers_that_the_stack_does_not_hold() -> None:
    target = {**TARGETS["aws"].target, "domain": None}
    del target["domain"]
    regions = [{"name": name} for name in TARGETS["aws"].regions]
    settings = {"environment": "test", "layer": ["platform"], "target": target, "regions": regions}
    assert only_mistake_of(settings).remedy == "Did you mean 'layers'"


def test_a_mistake_in_the_value_of_a_misspelt_key_is_told_too() -> None:
    settings = {key: value for key, value in LOCAL.items() if key != "environment"}
    assert set(mistakes_of({**settings, "enviroment": 7})) == {"enviroment", "environment"}
