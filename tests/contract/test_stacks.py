"""What a whole stack keeps to on every target."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.contract.programs import assembled, balanced, regions_of
from tests.contract.targets import Case

TRAFFIC = list(itertools.product(range(3), (False, True)))
"""Which of a target's dials, and whether the region is drained."""
LEGAL = [pair for pair in itertools.product(TRAFFIC, TRAFFIC) if not all(drained for _, drained in pair)]


def traffic(case: Case, *given: tuple[int, bool]) -> list[dict[str, Any]]:
    """Regions with dials and drains."""
    return [
        {"name": name, "dial": case.dials[dial], "drained": drained}
        for name, (dial, drained) in zip(case.regions, given, strict=False)
    ]


@pytest.mark.parametrize(("first", "second"), LEGAL, ids=str)
def test_there_is_one_global_url_for_every_legal_traffic(
    case: Case, first: tuple[int, bool], second: tuple[int, bool]
) -> None:
    url = balanced(case, traffic(case, first, second)).returned
    assert url.startswith(("http://", "https://"))


@pytest.mark.parametrize("first", [(1, False), (0, False), (2, True)], ids=str)
def test_dial_and_drain_reach_the_global_load_balancer(case: Case, first: tuple[int, bool]) -> None:
    before, after = (balanced(case, traffic(case, one, (2, False))).inputs() for one in ((2, False), first))
    assert set(before) == set(after) and before != after


def test_dial_and_drain_reach_no_region(case: Case) -> None:
    def regional(*given: tuple[int, bool]) -> Any:
        return regions_of(case, lambda regions, _: None, regions=traffic(case, *given)).inputs()

    assert regional((2, False), (2, False)) == regional((0, False), (2, True))


def test_the_smallest_dial_is_not_a_drain(case: Case) -> None:
    dialled, drained = (balanced(case, traffic(case, (0, one), (2, False))).inputs() for one in (False, True))
    assert dialled != drained


def test_the_global_url_is_none_of_the_regions(case: Case) -> None:
    outputs = assembled(case).returned
    assert outputs["endpoint"] not in {region["endpoint"] for region in outputs["regions"].values()}


def test_the_same_settings_register_the_same_resources_with_the_same_inputs(case: Case) -> None:
    everything = {"layers": ["platform", "apps", "global"]}  # as it is without saying so
    first, second = assembled(case).inputs(), assembled(case, **everything).inputs()
    assert first == second
    assert len(first) > 10


def test_the_order_of_regions_changes_no_name(case: Case) -> None:
    first, second = ({"name": name} for name in case.regions[:2])
    # A model that is not trained here is published in the first region, so it is left out.
    apps = {"models": case.models("coder"), "services": []}
    forth = assembled(case, regions=[first, second], **apps).resources
    back = assembled(case, regions=[second, first], **apps).resources
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
    assert set(outputs["regions"]) == set(case.regions[:2])
    for region in outputs["regions"].values():
        assert set(region) == {"endpoint", "handle", "replicas"}
        assert region["replicas"] == {"coder": 2, "assistant": 1}
    assert set(outputs["models"]) == set(outputs["quantization"]) == {"coder", "assistant"}
    for model in outputs["models"].values():
        assert set(model) == {"version", "digest", "scheme"}
    assert set(outputs["training"]) == {"coder"}


NO_APPS: dict[str, Any] = {"training": [], "models": [], "services": []}


def test_a_stack_without_apps_still_has_its_endpoints(case: Case) -> None:
    outputs = assembled(case, layers=["platform", "global"], **NO_APPS).returned
    assert outputs["models"] == outputs["training"] == {}
    assert outputs["endpoint"] and set(outputs["regions"]) == set(case.regions[:2])


def test_a_stack_without_the_global_layer_has_regions_and_no_global_endpoint(case: Case) -> None:
    regions = [{"name": name} for name in case.regions[:2]]
    outputs = assembled(case, layers=["platform"], regions=regions, **NO_APPS).returned
    assert "endpoint" not in outputs and set(outputs["regions"]) == set(case.regions[:2])
