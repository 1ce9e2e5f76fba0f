"""Rules over several parts of a stack file."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from components.catalog.accelerators import ACCELERATORS
from components.local.settings import LAST_PORT, MOST_REPLICAS, MOST_SERVICES
from components.settings.load import load_stack_settings
from tests.unit.settings.files import LOCAL, mistakes_of, only_mistake_of, spoiled

EAST, WEST = LOCAL["regions"]
TRAIN, SERVE = LOCAL["pools"]
(RUN,) = LOCAL["training"]
CODER, ASSISTANT = LOCAL["services"]


def with_pool(nodes: int, replicas: int, **more: Any) -> dict[str, Any]:
    """The local stack with one more replica count and pool size."""
    services = [{**CODER, "replicas": replicas}, ASSISTANT]
    return spoiled(pools=[TRAIN, {**SERVE, "max_nodes": nodes}], services=services, **more)


@pytest.mark.parametrize("key", ["regions", "pools", "training", "models", "services"])
def test_a_name_is_given_once_in_each_list(key: str) -> None:
    entries = LOCAL[key]
    mistake = mistakes_of(spoiled(**{key: [*entries, entries[0]]}))[f"{key}[{len(entries)}].name"]
    assert "2 times" in mistake.rule


def test_a_pool_holds_the_replicas_of_every_service() -> None:
    load_stack_settings(with_pool(nodes=4, replicas=3))
    mistake = only_mistake_of(with_pool(nodes=4, replicas=4))
    assert mistake.path == "pools[1].max_nodes"
    assert "5 nodes" in mistake.rule and "'serve'" in mistake.rule and "Raise it to 5" in mistake.remedy


def test_a_pool_holds_workers_and_replicas_together() -> None:
    shared = {**RUN, "pool": "serve", "workers": 2}
    load_stack_settings(with_pool(nodes=4, replicas=1, training=[shared]))
    mistake = only_mistake_of(with_pool(nodes=4, replicas=2, training=[shared]))
    assert "5 nodes" in mistake.rule


def test_runs_of_different_regions_do_not_share_a_pool() -> None:
    runs = [{**RUN, "name": f"run-{region}", "region": region} for region in ("east", "west")]
    load_stack_settings(spoiled(training=runs, models=[], services=[]))
    runs[1]["region"] = "east"
    assert "4 nodes" in only_mistake_of(spoiled(training=runs, models=[], services=[])).rule


def test_one_region_stays_in_rotation() -> None:
    load_stack_settings(spoiled(regions=[EAST, {**WEST, "drained": True}]))
    mistake = only_mistake_of(spoiled(regions=[{**EAST, "drained": True}, {**WEST, "drained": True}]))
    assert mistake.path == "regions[1].drained"
    assert "every region is drained" in mistake.rule and "Leave one" in mistake.remedy


@pytest.mark.parametrize("key", ["training", "models", "services"])
def test_what_belongs_to_apps_is_refused_in_a_stack_of_the_platform_layer(key: str) -> None:
    mistake = mistakes_of(spoiled(layers=["platform"]))[key]
    assert "only the layer platform" in mistake.rule and "add apps" in mistake.remedy


def test_a_stack_of_the_platform_layer_may_hold_regions_and_pools() -> None:
    load_stack_settings(spoiled(layers=["platform"], training=[], models=[], services=None))


def test_target_local_always_holds_the_platform() -> None:
    mistake = only_mistake_of(spoiled(layers=["apps"]))
    assert mistake.path == "layers" and "target local" in mistake.rule and "Add platform" in mistake.remedy


def test_the_ports_of_target_local_end_where_ports_end() -> None:
    highest = LAST_PORT - 300 + 1
    load_stack_settings(spoiled(target={"name": "local", "port": highest}))
    mistake = only_mistake_of(spoiled(target={"name": "local", "port": highest + 1}))
    assert mistake.path == "target.port" and f"at most {highest}" in mistake.remedy


def test_target_local_has_ports_for_so_many_services() -> None:
    services = [{**CODER, "name": f"s{index}", "replicas": 0} for index in range(MOST_SERVICES)]
    load_stack_settings(spoiled(services=services))
    mistake = only_mistake_of(spoiled(services=[*services, {**CODER, "replicas": 0}]))
    assert mistake.path == "services" and str(MOST_SERVICES) in mistake.rule


def test_target_local_has_ports_for_so_many_replicas() -> None:
    load_stack_settings(with_pool(nodes=100, replicas=MOST_REPLICAS))
    mistake = only_mistake_of(with_pool(nodes=100, replicas=MOST_REPLICAS + 1))
    assert mistake.path == "services[0].replicas" and f"at most {MOST_REPLICAS}" in mistake.remedy


def test_labels_follow_googles_rule() -> None:
    assert "label's key" in only_mistake_of(spoiled(labels={"Team": "a"})).rule
    assert "label's value" in only_mistake_of(spoiled(labels={"team": "A b"})).rule


@pytest.mark.parametrize("row", ACCELERATORS, ids=lambda row: row.name)
def test_a_row_of_the_catalog_says_where_it_is_from_and_when_it_was_read(row: Any) -> None:
    assert len(row.source.split()) > 2
    assert date(2024, 1, 1) <= date.fromisoformat(row.as_of)
