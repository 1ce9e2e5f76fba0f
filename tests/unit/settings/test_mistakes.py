"""One report holds every mistake of a stack file, and each says where, what, why not, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.settings.items import RegionSettings
from components.settings.load import load_stack_settings
from components.settings.mistakes import Mistake, SettingsError
from tests.unit.settings.files import LOCAL, mistakes_of, only_mistake_of, spoiled

POOLS = LOCAL["pools"]
EVERYTHING_WRONG: dict[str, Any] = {
    "environment": 7,
    "regoins": [],
    "target": {"name": "local"},
    "regions": [{"name": "east"}, {"name": "east", "dial": 1.5}],
    "pools": [{"name": "train", "accelerator": "h900", "max_nodes": 2}],
    "training": [{"name": "coder", "region": "north", "pool": "big", "steps": 1}],
    "models": [{"name": "coder", "source": "training://poet"}],
    "services": [
        {"name": "coder", "model": "coder", "pool": "train", "replicas": -1},
        {"name": "poet", "model": "poet", "pool": "serve"},
    ],
}
SAID = {
    "environment": ("7", "must be text", "Write text"),
    "regoins": ("list", "no such key", "Did you mean 'regions'"),
    "regions[1].dial": ("1.5", "must be at most 1", "range"),
    "regions[1].name": ('"east"', "a name is given once", "Rename"),
    "pools[0].accelerator": ('"h900"', "no such accelerator", "Choose one of: cpu"),
    "training[0].region": ('"north"', "no entry of regions", "Choose one of: east"),
    "training[0].pool": ('"big"', "no entry of pools", "Choose one of: train"),
    "models[0].source": ('"poet"', "no entry of training", "Choose one of: coder"),
    "services[0].replicas": ("-1", "must be at least 0", "range"),
    "services[1].model": ('"poet"', "no entry of models", "Choose one of: coder"),
    "services[1].pool": ('"serve"', "no entry of pools", "Choose one of: train"),
}


def test_every_mistake_is_in_one_report() -> None:
    assert set(mistakes_of(EVERYTHING_WRONG)) == set(SAID)


@pytest.mark.parametrize("path", SAID)
def test_a_mistake_tells_place_value_rule_and_remedy(path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_stack_settings(EVERYTHING_WRONG)
    (line,) = [line for line in str(caught.value).splitlines() if line.startswith(f"  {path}: ")]
    for words in SAID[path]:
        assert words in line


def test_of_a_mapping_the_keys_are_shown_and_no_value() -> None:
    shown = str(Mistake("target", {"b": "hidden", "a": 1}, "must be text", "Write text"))
    assert shown == 'target: a mapping of ["a", "b"] -- must be text. Write text.'


def test_the_report_counts_the_mistakes() -> None:
    with pytest.raises(SettingsError, match=f"skerry:stack has {len(SAID)} mistakes"):
        load_stack_settings(EVERYTHING_WRONG)


def test_a_key_unlike_any_other_is_not_guessed_at() -> None:
    mistake = only_mistake_of(spoiled(zzzz=1))
    assert mistake.remedy == "Remove it"
    assert "regions" in mistake.rule


def test_a_nested_key_is_compared_with_the_keys_of_its_own_place() -> None:
    mistake = only_mistake_of(spoiled(endpoint={"health": {"intervall_seconds": 2}}))
    assert mistake.path == "endpoint.health.intervall_seconds"
    assert "'interval_seconds'" in mistake.remedy


def test_an_unknown_target_is_answered_with_those_that_exist() -> None:
    mistake = mistakes_of(spoiled(target={"name": "moon"}))["target.name"]
    assert mistake.value == "moon" and "'local'" in mistake.remedy


def test_a_required_key_that_is_missing_is_named() -> None:
    mistake = only_mistake_of(spoiled(environment=None))
    assert mistake.path == "environment" and "required" in mistake.rule


def test_a_bad_name_is_told_the_form_of_names() -> None:
    mistake = only_mistake_of(spoiled(environment="Prod_1"))
    assert "lower-case" in mistake.rule and "40" in mistake.rule


@pytest.mark.parametrize("target", [None, 5, [], {}, {"name": None}, {"name": ["local"]}, {"name": {}}])
def test_a_target_of_any_shape_is_a_mistake_at_the_target(target: Any) -> None:
    settings = {**spoiled(), "target": target}
    assert all(path.startswith("target") for path in mistakes_of(settings))


@pytest.mark.parametrize("wrong", [5, {"east": {}}, "east"])
def test_a_list_that_is_none_causes_no_mistake_of_those_who_refer_to_it(wrong: Any) -> None:
    for key in ("regions", "pools", "training", "models"):
        assert set(mistakes_of(spoiled(**{key: wrong}))) == {key}


@pytest.mark.parametrize("wrong", [5, {}, {"name": 7}])
def test_an_entry_without_a_name_causes_no_mistake_of_those_who_may_mean_it(wrong: Any) -> None:
    for key in ("regions", "pools", "training", "models"):
        entries = [*LOCAL[key][:-1], wrong]
        assert all(path.startswith(f"{key}[") for path in mistakes_of(spoiled(**{key: entries})))


def test_an_entry_that_is_wrong_elsewhere_can_still_be_referred_to() -> None:
    pools = [{**pool, "max_nodes": 0} for pool in POOLS]
    assert set(mistakes_of(spoiled(pools=pools))) == {"pools[0].max_nodes", "pools[1].max_nodes"}


@pytest.mark.parametrize("layers", [["platform", "aps"], ["platfrom", "apps"], [], "platform"])
def test_misspelt_layers_cause_no_mistake_of_what_stands_in_them(layers: Any) -> None:
    assert all(path.startswith("layers") for path in mistakes_of(spoiled(layers=layers)))


def test_a_second_of_two_equal_names_is_found_behind_an_entry_without_one() -> None:
    regions = [{"dial": 1}, {"name": "east"}, {"name": "east"}, {"name": "west"}]
    assert set(mistakes_of(spoiled(regions=regions))) == {"regions[0].name", "regions[2].name"}


@pytest.mark.parametrize("key", ["password", "api-key", "api_key", "hf_token", "clientSecret", "privateKey"])
def test_the_value_of_a_key_that_looks_secret_is_not_shown(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_stack_settings(spoiled(**{key: "hunter2"}))
    assert key in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [{"password": "hunter2"}, ["hunter2"], [{"token": "hunter2"}]])
def test_what_is_inside_a_refused_list_or_mapping_is_not_shown(value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        load_stack_settings(spoiled(database=value))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.mistakes)


def test_settings_cannot_be_changed() -> None:
    settings = load_stack_settings(LOCAL)
    with pytest.raises(ValidationError, match="frozen"):
        settings.environment = "other"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError, match="frozen"):
        settings.regions[0].dial = 0.5  # pyright: ignore[reportAttributeAccessIssue]


def test_a_number_is_not_read_from_text() -> None:
    with pytest.raises(ValidationError):
        RegionSettings.model_validate({"name": "east", "dial": "0.5"})
