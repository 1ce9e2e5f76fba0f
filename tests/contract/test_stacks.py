"""What a whole stack keeps to on every target."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.contract.programs import assembled, regions_of
from tests.contract.targets import Case

TRAFFIC = [{"dial": dial, "drained": drained} for dial in (0, 0.5, 1) for drained in (False, True)]
LEGAL = [pair for pair in itertools.product(TRAFFIC, TRAFFIC) if not all(one["drained"] for one in pair)]


def with_traffic(east: dict[str, Any], west: dict[str, Any]) -> dict[str, Any]:
    return {"regions": [{"name": "east", **east}, {"name": "west", **west}]}


def split(case: Case, east: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs of what the regions hold, and of what the global load balancer adds to them."""
    changes = with_traffic(east, {})
    regional = regions_of(case, lambda regions, _: None, **changes).inputs()
    whole = assembled(case, **changes).inputs()
    return regional, {urn: inputs for urn, inputs in whole.items() if urn not in regional}


@pytest.mark.parametrize(("east", "west"), LEGAL, ids=str)
def test_there_is_one_global_url_for_every_legal_traffic(
    case: Case, east: dict[str, Any], west: dict[str, Any]
) -> None:
    url = assembled(case, **with_traffic(east, west)).returned["endpoint"]
    assert url.startswith(("http://", "https://"))


@pytest.mark.parametrize("east", [{"dial": 0.25}, {"dial": 0}, {"drained": True}], ids=str)
def test_dial_and_drain_reach_the_global_load_balancer_and_no_region(
    case: Case, east: dict[str, Any]
) -> None:
    before, after = split(case, {}), split(case, east)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_dial_0_is_not_a_drain(case: Case) -> None:
    assert split(case, {"dial": 0})[1] != split(case, {"drained": True})[1]


def test_the_global_url_is_none_of_the_regions(case: Case) -> None:
    outputs = assembled(case).returned
    assert outputs["endpoint"] not in {region["endpoint"] for region in outputs["regions"].values()}


def test_the_same_settings_register_the_same_resources_with_the_same_inputs(case: Case) -> None:
    first, second = assembled(case).inputs(), assembled(case).inputs()
    assert first == second
    assert len(first) > 10


def test_the_order_of_regions_changes_no_name(case: Case) -> None:
    east, west = {"name": "east"}, {"name": "west"}
    # A model that is not trained here is published in the first region, so it is left out.
    apps = {"models": [{"name": "coder", "source": "training://coder"}], "services": []}
    forth = assembled(case, regions=[east, west], **apps).resources
    back = assembled(case, regions=[west, east], **apps).resources
    assert set(forth) == set(back)


def test_every_component_registers_its_outputs(case: Case) -> None:
    components = [made for made in assembled(case).resources.values() if not made.custom]
    assert components
    assert [made.urn for made in components if made.outputs is None] == []


def test_every_component_is_of_our_package(case: Case) -> None:
    kinds = {made.kind for made in assembled(case).resources.values() if not made.custom}
    assert all(kind.startswith("skerry:index:") for kind in kinds), kinds


def test_every_resource_stands_in_a_component(case: Case) -> None:
    resources = assembled(case).resources
    components = {urn for urn, made in resources.items() if not made.custom}
    inner = [made for made in resources.values() if made.custom and not made.is_provider]
    assert inner
    assert [made.urn for made in inner if made.parent not in components] == []


def test_no_resource_uses_a_default_provider(case: Case) -> None:
    resources = assembled(case).resources
    explicit = {urn for urn, made in resources.items() if made.is_provider}
    inner = [made for made in resources.values() if made.custom and not made.is_provider]
    assert explicit
    assert [made.urn for made in inner if made.provider.rpartition("::")[0] not in explicit] == []


def test_outputs_tell_endpoint_regions_models_training_and_quantization(case: Case) -> None:
    outputs = assembled(case).returned
    assert set(outputs) == {"endpoint", "regions", "models", "training", "quantization"}
    assert set(outputs["regions"]) == {"east", "west"}
    for region in outputs["regions"].values():
        assert set(region) == {"endpoint", "handle", "replicas"}
        assert region["replicas"] == {"coder": 2, "assistant": 1}
    assert set(outputs["models"]) == set(outputs["quantization"]) == {"coder", "assistant"}
    for model in outputs["models"].values():
        assert set(model) == {"version", "digest", "scheme"}
    for sizes in outputs["quantization"].values():
        assert sizes["bytes_before"] > sizes["bytes_after"] > 0
    assert set(outputs["training"]) == {"coder"}


def test_a_stack_of_the_platform_layer_still_has_its_endpoints(case: Case) -> None:
    nothing: dict[str, Any] = {"layers": ["platform"], "training": [], "models": [], "services": []}
    outputs = assembled(case, **nothing).returned
    assert outputs["models"] == outputs["training"] == {}
    assert outputs["endpoint"] and set(outputs["regions"]) == {"east", "west"}
