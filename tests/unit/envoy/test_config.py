"""Envoy's configuration as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.envoy import config as envoy
from components.local.layout import ENVOY_PROGRAM, LOOPBACK
from components.local.settings import MOST_REPLICAS, MOST_SERVICES
from components.settings.base import NAME_PATTERN
from components.settings.items import EndpointSettings, HealthSettings

ENDPOINT = EndpointSettings(
    request_timeout_seconds=111,
    idle_timeout_seconds=22,
    drain_seconds=33,
    health=HealthSettings(interval_seconds=4, unhealthy_after=5, healthy_after=6),
)
SERVICES = {"coder": "coder-cluster", "assistant": "assistant-cluster"}
CLUSTERS = {
    "service": envoy.service_cluster("coder", [(LOOPBACK, 9001), (LOOPBACK, 9002)], ENDPOINT),
    "regions": envoy.regions_cluster(
        {"east": (LOOPBACK, 9100), "west": (LOOPBACK, 9200)}, {"east": 0.75, "west": 0.25}, ENDPOINT
    ),
}
LISTENERS = {
    "region": envoy.region_listener((LOOPBACK, 9100), SERVICES, ENDPOINT),
    "global": envoy.global_listener((LOOPBACK, 9000), ENDPOINT),
}
TWO = {"east": (LOOPBACK, 1), "west": (LOOPBACK, 2)}
BOOTSTRAP = envoy.bootstrap("east", "/etc/listeners.json", "/etc/clusters.json", "/run/admin.sock")
EVERYTHING = {**CLUSTERS, **LISTENERS, "bootstrap": BOOTSTRAP}
RETRIED_WHILE_NOTHING_WAS_ANSWERED = {
    "connect-failure",
    "refused-stream",
    "reset-before-request",
    "gateway-error",
}


def values_of(node: Any, key: str) -> Iterator[Any]:
    """Every value that stands under a key, however deep."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == key)
        for value in node.values():
            yield from values_of(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from values_of(value, key)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_clusters_health_rule_is_the_settings(name: str) -> None:
    (check,) = CLUSTERS[name]["health_checks"]
    assert (check["interval"], check["no_traffic_interval"]) == ("4s", "4s")
    assert (check["unhealthy_threshold"], check["healthy_threshold"]) == (5, 6)


@pytest.mark.parametrize("name", LISTENERS)
def test_every_route_to_a_cluster_has_the_settings_time_outs(name: str) -> None:
    routes = list(values_of(LISTENERS[name], "route"))
    assert routes
    assert {(route["timeout"], route["idle_timeout"]) for route in routes} == {("111s", "22s")}


@pytest.mark.parametrize("name", LISTENERS)
def test_a_listener_drains_as_long_as_the_settings_say(name: str) -> None:
    assert list(values_of(LISTENERS[name], "drain_timeout")) == ["33s"]


@pytest.mark.parametrize("name", LISTENERS)
def test_a_stream_may_pause_as_long_as_the_settings_say(name: str) -> None:
    assert list(values_of(LISTENERS[name], "stream_idle_timeout")) == ["22s"]


@pytest.mark.parametrize("name", LISTENERS)
def test_nothing_is_tried_again_once_an_answer_began(name: str) -> None:
    for policy in values_of(LISTENERS[name], "retry_policy"):
        assert set(policy["retry_on"].split(",")) <= RETRIED_WHILE_NOTHING_WAS_ANSWERED


@pytest.mark.parametrize("name", LISTENERS)
def test_what_is_tried_again_is_tried_elsewhere(name: str) -> None:
    for policy in values_of(LISTENERS[name], "retry_policy"):
        assert [predicate["name"] for predicate in policy["retry_host_predicate"]] == ["previous_hosts"]


def test_a_share_becomes_a_weight_in_proportion() -> None:
    members = CLUSTERS["regions"]["load_assignment"]["endpoints"]
    weights = {member["locality"]["region"]: member["load_balancing_weight"] for member in members}
    assert weights["east"] == 3 * weights["west"]


def test_a_region_with_share_0_comes_second() -> None:
    cluster = envoy.regions_cluster(TWO, {"east": 1.0, "west": 0.0}, ENDPOINT)
    members = cluster["load_assignment"]["endpoints"]
    assert {member["locality"]["region"]: member["priority"] for member in members} == {"east": 0, "west": 1}


def test_a_region_with_the_smallest_share_still_comes_first() -> None:
    cluster = envoy.regions_cluster(TWO, {"east": 0.9999, "west": 0.0001}, ENDPOINT)
    west = cluster["load_assignment"]["endpoints"][1]
    assert west["priority"] == 0
    assert west["load_balancing_weight"] >= 1, "Envoy refuses a weight of 0"


def test_a_region_without_a_port_is_absent() -> None:
    cluster = envoy.regions_cluster({"east": TWO["east"]}, {"east": 1.0}, ENDPOINT)
    assert list(values_of(cluster, "region")) == ["east"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_sick_are_not_tried_when_nobody_is_healthy(name: str) -> None:
    assert CLUSTERS[name]["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}


def test_only_the_owner_may_open_the_administration_socket() -> None:
    assert BOOTSTRAP["admin"]["address"] == {"pipe": {"path": "/run/admin.sock", "mode": 0o600}}


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_socket_address_is_on_loopback(name: str) -> None:
    addresses = [address["address"] for address in values_of(EVERYTHING[name], "socket_address")]
    assert set(addresses) == (set() if name == "bootstrap" else {"127.0.0.1"})


def test_replicas_behind_a_name_are_looked_up_and_numbers_are_not() -> None:
    named = envoy.service_cluster("coder", [("coder.skerry.svc", 8000)], ENDPOINT)
    assert (named["type"], CLUSTERS["service"]["type"]) == ("STRICT_DNS", "STATIC")


def test_a_fixed_configuration_has_no_administration_port() -> None:
    fixed = envoy.fixed_bootstrap("gateway", [LISTENERS["region"]], [CLUSTERS["service"]])
    assert "admin" not in fixed and "dynamic_resources" not in fixed
    assert fixed["overload_manager"] == BOOTSTRAP["overload_manager"]


def test_a_regions_health_is_that_of_all_its_replicas_together() -> None:
    clusters = envoy.region_clusters(
        {"coder": [(LOOPBACK, 9001), (LOOPBACK, 9002)], "assistant": [(LOOPBACK, 9003)]}, ENDPOINT
    )
    (asked,) = [cluster for cluster in clusters if cluster["name"] == envoy.ANY_SERVICE]
    assert list(values_of(asked, "port_value")) == [9001, 9002, 9003]
    assert set(*values_of(LISTENERS["region"], "cluster_min_healthy_percentages")) == {envoy.ANY_SERVICE}


def test_one_healthy_replica_of_as_many_as_a_region_can_have_is_enough() -> None:
    (rule,) = values_of(LISTENERS["region"], "cluster_min_healthy_percentages")
    per_cent = rule[envoy.ANY_SERVICE]["value"]
    assert isinstance(per_cent, int), "Envoy takes a fraction for nothing"
    assert 0 < per_cent < 100 / (MOST_SERVICES * MOST_REPLICAS)


def test_a_region_without_services_is_healthy() -> None:
    assert envoy.region_clusters({}, ENDPOINT) == []
    listener = envoy.region_listener((LOOPBACK, 9100), {}, ENDPOINT)
    assert list(values_of(listener, "cluster_min_healthy_percentages")) == [{}]


@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_no_service_is_called_as_what_stands_beside_the_services(name: str) -> None:
    assert name not in {envoy.ANY_SERVICE, ENVOY_PROGRAM}


def test_every_service_has_a_route_by_model_and_one_by_path() -> None:
    targets = [route["cluster"] for route in values_of(LISTENERS["region"], "route")]
    assert sorted(targets) == sorted([*SERVICES.values()] * 2)


@pytest.mark.parametrize("kind", ["listener.v3.Listener", "cluster.v3.Cluster"])
def test_a_discovery_file_is_json_with_the_type_of_each_resource(kind: str) -> None:
    (resource,) = json.loads(envoy.discovery(kind, [{"name": "one"}]))["resources"]
    assert resource == {"@type": f"type.googleapis.com/envoy.config.{kind}", "name": "one"}
