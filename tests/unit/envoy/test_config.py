"""Envoy's configuration as data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.envoy import config as envoy
from components.envoy import limits
from components.envoy.clusters import ANY_SERVICE, LARGE, SMALL
from components.envoy.limits import CONNECTIONS
from components.envoy.routes import UNREAD, door_routes
from components.local.layout import ENVOY_PROGRAM, LOOPBACK
from components.local.settings import MOST_REPLICAS, MOST_SERVICES
from components.settings.base import NAME_PATTERN
from components.settings.items import EndpointSettings, HealthSettings
from workloads.serving.limits import Limits

ENDPOINT = EndpointSettings(
    request_timeout_seconds=111,
    idle_timeout_seconds=22,
    drain_seconds=33,
    health=HealthSettings(interval_seconds=4, unhealthy_after=5, healthy_after=6),
)
SERVICES = {"coder": "coder-cluster", "assistant": "assistant-cluster"}
DOOR, MODELS = envoy.region_listeners((LOOPBACK, 9100), SERVICES, ENDPOINT, hops=1)
CLUSTERS = {
    "service": envoy.service_cluster("coder", [(LOOPBACK, 9001), (LOOPBACK, 9002)], ENDPOINT),
    "regions": envoy.regions_cluster(
        {"east": (LOOPBACK, 9100), "west": (LOOPBACK, 9200)}, {"east": 0.75, "west": 0.25}, ENDPOINT
    ),
}
LISTENERS = {
    "door": DOOR,
    "models": MODELS,
    "global": envoy.global_listener((LOOPBACK, 9000), ENDPOINT),
}
PUBLIC = ("door", "global")
TWO = {"east": (LOOPBACK, 1), "west": (LOOPBACK, 2)}
BOOTSTRAP = envoy.bootstrap("east", "/etc/listeners.json", "/etc/clusters.json", "/run/admin.sock")
EVERYTHING = {**CLUSTERS, **LISTENERS, "bootstrap": BOOTSTRAP}
RETRIED_WHILE_NOTHING_WAS_ANSWERED = {
    "connect-failure",
    "refused-stream",
    "reset",
    "retriable-status-codes",
    "retriable-headers",
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


def test_routes_to_services_have_the_settings_time_outs_and_only_streams_pause() -> None:
    routes = [route for route in values_of(MODELS, "route") if route["cluster"] in SERVICES.values()]
    assert {(route["timeout"], route["idle_timeout"]) for route in routes} == {
        ("111s", "22s"),
        ("111s", "111s"),
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_what_callers_reach_is_more_patient_than_what_stands_behind_it(name: str) -> None:
    listener = LISTENERS[name]
    pauses = {*values_of(listener, "stream_idle_timeout"), *values_of(listener, "idle_timeout")}
    assert min(int(pause.removesuffix("s")) for pause in pauses) > 111
    timeouts = [int(route["timeout"].removesuffix("s")) for route in values_of(listener, "route")]
    assert all(seconds == 0 or seconds > 111 for seconds in timeouts)


@pytest.mark.parametrize("name", LISTENERS)
def test_a_listener_drains_as_long_as_the_settings_say(name: str) -> None:
    assert list(values_of(LISTENERS[name], "drain_timeout")) == ["33s"]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_request_that_does_not_arrive_is_ended(name: str) -> None:
    (seconds,) = values_of(LISTENERS[name], "request_timeout")
    assert seconds == f"{Limits().body_seconds:g}s", "as the serving workload has it"


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
    assert set(addresses) == (set() if name in {"bootstrap", "models"} else {"127.0.0.1"})


def test_replicas_behind_a_name_are_looked_up_and_numbers_are_not() -> None:
    named = envoy.service_cluster("coder", [("coder.skerry.svc", 8000)], ENDPOINT)
    assert (named["type"], CLUSTERS["service"]["type"]) == ("STRICT_DNS", "STATIC")


def test_a_fixed_configuration_answers_scrapers_and_nobody_who_would_administer_it() -> None:
    fixed = envoy.fixed_bootstrap("gateway", [DOOR, MODELS], [CLUSTERS["service"]])
    assert "dynamic_resources" not in fixed
    assert fixed["overload_manager"] == BOOTSTRAP["overload_manager"]
    assert fixed["admin"]["allow_paths"] == [{"exact": "/stats/prometheus"}]


@pytest.mark.parametrize("name", [*CLUSTERS, "inner"])
def test_a_cluster_takes_as_many_requests_as_its_listener_lets_in(name: str) -> None:
    cluster = envoy.region_clusters({}, ENDPOINT)[0] if name == "inner" else CLUSTERS[name]
    (found,) = cluster["circuit_breakers"]["thresholds"]
    named = ("max_connections", "max_pending_requests", "max_requests")
    assert {found[key] for key in named} == {CONNECTIONS}
    (let_in,) = values_of(BOOTSTRAP, "max_active_downstream_connections")
    assert let_in == CONNECTIONS and found["retry_budget"]["budget_percent"] == {"value": 100.0}


def test_the_limits_add_up_to_less_than_the_memory_of_the_container() -> None:
    (heap,) = values_of(BOOTSTRAP, "max_heap_size_bytes")
    most = limits.BASE_BYTES + limits.LARGE_BODIES * limits.BODY_BYTES
    most += CONNECTIONS * (limits.SMALL_BODY_BYTES + limits.CONNECTION_BYTES)
    assert most <= heap < limits.MEMORY_MIB * 1024 * 1024


def test_a_regions_health_is_that_of_all_its_replicas_together() -> None:
    clusters = envoy.region_clusters(
        {"coder": [(LOOPBACK, 9001), (LOOPBACK, 9002)], "assistant": [(LOOPBACK, 9003)]}, ENDPOINT
    )
    (asked,) = [cluster for cluster in clusters if cluster["name"] == ANY_SERVICE]
    assert list(values_of(asked, "port_value")) == [9001, 9002, 9003]
    assert set(*values_of(DOOR, "cluster_min_healthy_percentages")) == {ANY_SERVICE}


def test_one_healthy_replica_of_as_many_as_a_region_can_have_is_enough() -> None:
    (rule,) = values_of(DOOR, "cluster_min_healthy_percentages")
    per_cent = rule[ANY_SERVICE]["value"]
    assert isinstance(per_cent, int), "Envoy takes a fraction for nothing"
    assert 0 < per_cent < 100 / (MOST_SERVICES * MOST_REPLICAS)


def test_a_region_without_services_is_healthy() -> None:
    assert ANY_SERVICE not in {cluster["name"] for cluster in envoy.region_clusters({}, ENDPOINT)}
    door, _ = envoy.region_listeners((LOOPBACK, 9100), {}, ENDPOINT, hops=1)
    assert list(values_of(door, "cluster_min_healthy_percentages")) == [{}]


@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_no_service_is_called_as_what_stands_beside_the_services(name: str) -> None:
    assert name not in {ANY_SERVICE, SMALL, LARGE, UNREAD, ENVOY_PROGRAM}


def test_a_get_that_declares_a_length_is_routed_by_it() -> None:
    matches = [route["match"].get("headers", []) for route in door_routes(patience=30)]
    by_method = [headers for headers in matches if any(header["name"] == ":method" for header in headers)]
    no_length = {"name": "content-length", "present_match": True, "invert_match": True}
    assert len(by_method) == 1 and no_length in by_method[0]


def test_every_service_has_two_routes_by_model_and_one_by_path() -> None:
    targets = [route["cluster"] for route in values_of(MODELS, "route")]
    assert sorted(targets) == sorted([*[*SERVICES.values()] * 3, UNREAD])


@pytest.mark.parametrize("kind", ["listener.v3.Listener", "cluster.v3.Cluster"])
def test_a_discovery_file_is_json_with_the_type_of_each_resource(kind: str) -> None:
    (resource,) = json.loads(envoy.discovery(kind, [{"name": "one"}]))["resources"]
    assert resource == {"@type": f"type.googleapis.com/envoy.config.{kind}", "name": "one"}
