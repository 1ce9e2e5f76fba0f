"""Bad input of target `gcp`: each place, the words, and the remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.settings.load import load_stack_settings
from tests.unit.settings.files import ROOT, mistakes_of, only_mistake_of, settings_of

NORTH, SOUTH = "us-central1", "europe-west4"
REGIONAL = settings_of(ROOT / "stacks" / f"Pulumi.dev-gcp-{NORTH}.yaml")
CHIPS = settings_of(ROOT / "stacks" / f"Pulumi.dev-gcp-{SOUTH}.yaml")
GLOBAL = settings_of(ROOT / "stacks" / "Pulumi.dev-gcp-global.yaml")
(TPUS,) = [index for index, pool in enumerate(CHIPS["pools"]) if pool["accelerator"].startswith("tpu-")]


def with_target(**changes: Any) -> dict[str, Any]:
    stack = copy.deepcopy(REGIONAL)
    stack["target"] |= changes
    return stack


def with_network(**changes: Any) -> dict[str, Any]:
    stack = copy.deepcopy(REGIONAL)
    (network,) = stack["target"]["networks"].values()
    network |= changes
    return stack


def with_chips(**changes: Any) -> dict[str, Any]:
    """The stack with a pool of TPUs."""
    stack = copy.deepcopy(CHIPS)
    stack["pools"][TPUS] |= changes
    return stack


@pytest.mark.parametrize("stack", [REGIONAL, CHIPS, GLOBAL])
def test_the_stack_files_are_sound(stack: dict[str, Any]) -> None:
    load_stack_settings(stack)


@pytest.mark.parametrize("project", ["Example", "9project", "short", "a" * 31, "with_underscore", "ends-"])
def test_a_project_id_that_is_none_is_told_the_form(project: str) -> None:
    mistake = only_mistake_of(with_target(project=project))
    assert mistake.path == "target.project"
    assert "6 to 30" in mistake.rule


@pytest.mark.parametrize("number", ["123456789012", 0, 1.5])
def test_a_project_number_is_a_whole_number(number: Any) -> None:
    assert only_mistake_of(with_target(project_number=number)).path == "target.project_number"


@pytest.mark.parametrize("labels", [{"Team": "a"}, {"team": "A team"}, {"1team": "a"}, {"team": "a" * 64}])
def test_a_label_that_google_refuses_is_refused_here(labels: dict[str, str]) -> None:
    (mistake,) = mistakes_of({**REGIONAL, "labels": labels}).values()
    assert mistake.path.startswith("labels.")
    assert "at most 63" in mistake.rule


def test_ranges_that_overlap_are_named_with_each_other() -> None:
    mistake = only_mistake_of(with_network(services="10.0.1.0/24"))
    assert mistake.path == f"target.networks.{NORTH}.services"
    assert f"overlaps with target.networks.{NORTH}.nodes (10.0.0.0/22)" in mistake.rule


def test_ranges_of_two_regions_may_not_overlap_either() -> None:
    stack = with_network()
    stack["regions"].append({"name": SOUTH})
    other = CHIPS["target"]["networks"][SOUTH]
    stack["target"]["networks"][SOUTH] = {**other, "pods": "10.16.0.0/16", "accelerator_zones": {}}
    mistake = only_mistake_of(stack)
    assert mistake.path == f"target.networks.{SOUTH}.pods"
    assert f"target.networks.{NORTH}.pods" in mistake.rule


@pytest.mark.parametrize(
    ("use", "cidr", "words"),
    [
        ("pods", "10.16.0.0/25", "/9 to /24"),
        ("services", "10.0.16.0/29", "/16 to /28"),
        ("nodes", "10.0.0.0/30", "/8 to /29"),
    ],
)
def test_a_range_that_gke_finds_too_small_is_told_the_sizes(use: str, cidr: str, words: str) -> None:
    mistake = only_mistake_of(with_network(**{use: cidr}))
    assert mistake.path == f"target.networks.{NORTH}.{use}"
    assert "too small" in mistake.rule and words in mistake.rule


@pytest.mark.parametrize(
    ("use", "cidr", "holds", "remedy"),
    [
        ("pods", "10.16.0.0/24", 1, "/20 or shorter"),
        ("pods", "10.16.0.0/21", 8, "/20 or shorter"),
        ("nodes", "10.0.0.0/28", 12, "/27 or shorter"),
    ],
)
def test_a_range_that_holds_fewer_nodes_than_the_pools_is_refused(
    use: str, cidr: str, holds: int, remedy: str
) -> None:
    mistake = only_mistake_of(with_network(**{use: cidr}))
    assert mistake.path == f"target.networks.{NORTH}.{use}"
    assert f"holds {holds} nodes" in mistake.rule and "may reach 16" in mistake.rule
    assert remedy in mistake.remedy


def test_a_range_that_is_none_has_one_mistake() -> None:
    mistake = only_mistake_of(with_network(nodes="10.0.0.1/28"))
    assert "is no range" in mistake.rule


def test_a_zone_of_another_region_is_refused() -> None:
    mistake = only_mistake_of(with_network(zones=[f"{NORTH}-a", "us-east1-b"]))
    assert (mistake.path, mistake.value) == (f"target.networks.{NORTH}.zones[1]", "us-east1-b")
    assert f"no zone of region '{NORTH}'" in mistake.rule


def test_a_zone_is_named_once() -> None:
    mistake = only_mistake_of(with_network(zones=[f"{NORTH}-a", f"{NORTH}-a"]))
    assert mistake.path == f"target.networks.{NORTH}.zones[1]"
    assert "given once" in mistake.rule


def test_a_zone_has_the_form_of_zones() -> None:
    assert (
        "such as us-central1-a" in only_mistake_of(with_network(zones=[f"{NORTH}-a", f"{NORTH}-b", "c"])).rule
    )


def test_accelerators_lie_in_zones_of_the_network() -> None:
    mistake = only_mistake_of(with_network(accelerator_zones={"l4": [f"{NORTH}-a", f"{NORTH}-f"]}))
    assert mistake.path == f"target.networks.{NORTH}.accelerator_zones.l4[1]"
    assert f"{NORTH}-a, {NORTH}-b, {NORTH}-c" in mistake.remedy


def test_zones_of_an_accelerator_that_does_not_exist_are_refused() -> None:
    mistake = only_mistake_of(with_network(accelerator_zones={"l5": [f"{NORTH}-a"]}))
    assert mistake.path == f"target.networks.{NORTH}.accelerator_zones.l5"
    assert "l4" in mistake.remedy


@pytest.mark.parametrize("dial", [0.0, 0.05, 0.0999])
def test_a_dial_that_cannot_be_told_from_a_drain_is_refused(dial: float) -> None:
    stack = copy.deepcopy(GLOBAL)
    stack["regions"][0]["dial"] = dial
    mistake = only_mistake_of(stack)
    assert mistake.path == "regions[0].dial"
    assert "0.1 to 1.0" in mistake.rule and "drained: true" in mistake.remedy


def test_a_drained_region_may_have_any_dial() -> None:
    stack = copy.deepcopy(GLOBAL)
    stack["regions"][0] |= {"dial": 0.0, "drained": True}
    load_stack_settings(stack)


def test_the_last_region_is_not_drained() -> None:
    stack = copy.deepcopy(GLOBAL)
    for region in stack["regions"]:
        region["drained"] = True
    assert "nothing could answer" in only_mistake_of(stack).rule


def test_a_topology_that_does_not_exist_is_answered_with_those_that_do() -> None:
    mistake = only_mistake_of(with_chips(topology="3x3"))
    assert mistake.path == f"pools[{TPUS}].topology"
    assert "2x2, 2x4, 4x4" in mistake.remedy


def test_a_slice_over_several_nodes_is_whole_or_not_there() -> None:
    mistake = only_mistake_of(with_chips(topology="4x4", max_nodes=3))
    assert mistake.path == f"pools[{TPUS}].max_nodes"
    assert "4 nodes that come and go together" in mistake.rule and "Write 4" in mistake.remedy


def test_slices_of_one_node_scale_freely() -> None:
    load_stack_settings(with_chips(topology="2x2", max_nodes=7))


def test_an_accelerator_that_the_region_lacks_is_answered_with_regions_that_have_it() -> None:
    stack = copy.deepcopy(REGIONAL)
    stack["pools"][0]["accelerator"] = "l40s"
    mistake = mistakes_of(stack)["pools[0].accelerator"]
    assert "target gcp has no such accelerator" in mistake.rule and "l4" in mistake.remedy


def test_a_global_layer_has_a_domain() -> None:
    stack = copy.deepcopy(GLOBAL)
    del stack["target"]["domain"]
    assert only_mistake_of(stack).path == "target.domain"


def test_the_settings_of_another_cloud_are_refused() -> None:
    mistake = only_mistake_of(with_target(account="111122223333"))
    assert mistake.path == "target.account" and "project_number" in mistake.rule


@pytest.mark.parametrize("rate", [0, -1, 2_000_000])
def test_a_gateway_is_said_to_hold_some_requests(rate: int) -> None:
    stack = copy.deepcopy(GLOBAL)
    stack["target"]["requests_per_gateway"] = rate
    assert only_mistake_of(stack).path == "target.requests_per_gateway"


def with_pool(**changes: Any) -> dict[str, Any]:
    """The first region with its pool for training alone, and no run, changed."""
    stack = copy.deepcopy(REGIONAL)
    train = {**stack["pools"][1], **changes}
    stack |= {"pools": [train], "training": [], "models": [], "services": []}
    return stack


def test_a_pool_whose_machines_are_in_none_of_the_networks_zones_is_told_where_they_are() -> None:
    stack = with_pool(accelerator="a100-80gb", ladder=["spot"])
    del stack["pools"][0]["reservation"], stack["pools"][0]["reservation_zone"]
    stack["target"]["networks"][NORTH]["zones"] = [f"{NORTH}-b", f"{NORTH}-f"]
    mistake = only_mistake_of(stack)
    assert mistake.path == "pools[0].accelerator"
    assert f"{NORTH}-a, {NORTH}-c" in mistake.rule
    assert f"target.networks.{NORTH}.accelerator_zones.a100-80gb" in mistake.remedy
    stack["target"]["networks"][NORTH]["accelerator_zones"] = {"a100-80gb": [f"{NORTH}-f"]}
    load_stack_settings(stack)


@pytest.mark.parametrize(
    ("accelerator", "region", "command"),
    [
        ("t4", NORTH, "accelerator-types list --filter='name=nvidia-tesla-t4 AND zone~us-central1-'"),
        ("tpu-v5e", NORTH, "machine-types list --filter='name=ct5lp-hightpu-4t AND zone~us-central1-'"),
        ("h100-80gb", "asia-northeast3", "accelerator-types list --filter='name=nvidia-h100-80gb AND"),
    ],
)
def test_an_accelerator_whose_zones_nobody_listed_is_told_the_command_that_lists_them(
    accelerator: str, region: str, command: str
) -> None:
    stack = with_pool(accelerator=accelerator, ladder=["spot"], max_nodes=1)
    del stack["pools"][0]["reservation"], stack["pools"][0]["reservation_zone"]
    if accelerator == "tpu-v5e":
        stack["pools"][0]["topology"] = "2x2"
    stack["regions"] = [{"name": region}]
    network = stack["target"]["networks"].pop(NORTH)
    network["zones"] = [f"{region}-a", f"{region}-b"]
    stack["target"]["networks"] = {region: network}
    mistake = only_mistake_of(stack)
    assert (mistake.path, mistake.value) == ("pools[0].accelerator", accelerator)
    assert f"does not list which zones of {region}" in mistake.rule and command in mistake.remedy
    network["accelerator_zones"] = {accelerator: [f"{region}-a"]}
    assert f"target.networks.{region}.accelerator_zones.{accelerator}" in mistake.remedy
    load_stack_settings(stack)


def test_machines_without_accelerators_need_no_listing() -> None:
    stack = with_pool(accelerator="cpu", ladder=["spot"])
    del stack["pools"][0]["reservation"], stack["pools"][0]["reservation_zone"]
    load_stack_settings(stack)


def test_a_reservation_outside_the_network_is_told_its_zones() -> None:
    mistake = only_mistake_of(with_pool(reservation_zone=f"{NORTH}-f"))
    assert mistake.path == "pools[0].reservation_zone" and f"{NORTH}-a, {NORTH}-b" in mistake.remedy


def test_a_rung_reserved_without_a_zone_is_refused() -> None:
    stack = with_pool()
    del stack["pools"][0]["reservation_zone"]
    assert only_mistake_of(stack).path == "pools[0].reservation_zone"


@pytest.mark.parametrize("accelerator", ["h200-141gb", "b200"])
def test_a_machine_that_is_not_sold_on_demand_is_told_its_rungs(accelerator: str) -> None:
    ladder = ["reserved", "spot", "on-demand"]
    mistake = only_mistake_of(
        with_pool(accelerator=accelerator, ladder=ladder, reservation_zone=f"{NORTH}-b")
    )
    assert (mistake.path, mistake.value) == ("pools[0].ladder", ladder)
    assert "on-demand" in mistake.rule and "reserved, spot" in mistake.remedy
