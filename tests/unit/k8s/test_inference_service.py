"""Replicas as a Deployment with what keeps them up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.k8s import pods
from components.k8s.settings import LEAVING_SECONDS
from components.settings.items import LimitSettings, ServiceSettings
from tests.recorder import Recording
from tests.unit.k8s.host import (
    ENDPOINT,
    GIVEN,
    IDLE,
    PIN,
    SECOND,
    SERVICE,
    PlainHost,
    main_of,
    named,
    option,
    recorded,
    region_over,
    template_of,
    whole_region,
)


@pytest.fixture(scope="module")
def region() -> Recording:
    return whole_region((SERVICE, SECOND, IDLE))


def test_a_replica_is_told_what_to_load_and_which_digest_to_insist_on(region: Recording) -> None:
    command = main_of(named(region, ":Deployment", "serve-coder"))["command"]
    assert option(command, "--model-uri") == region.returned["versions"]["coder"]["uri"]
    assert option(command, "--digest") == PIN
    assert option(command, "--model-name") == "coder"


def test_an_autoscaler_chooses_between_the_settings_numbers_and_nobody_else_does(region: Recording) -> None:
    scaler = named(region, ":HorizontalPodAutoscaler", "serve-coder").inputs["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "serve-coder"}
    assert "replicas" not in named(region, ":Deployment", "serve-coder").inputs["spec"]


def test_without_a_range_there_are_as_many_replicas_as_the_settings_say(region: Recording) -> None:
    assert named(region, ":Deployment", "serve-given").inputs["spec"]["replicas"] == 1
    assert len(region.of(":HorizontalPodAutoscaler")) == 1


def test_what_is_scaled_to_nothing_has_no_disruption_budget(region: Recording) -> None:
    names = {made.inputs["metadata"]["name"] for made in region.of(":PodDisruptionBudget")}
    assert names == {"serve-coder", "serve-given", "gateway"}


def test_a_new_replica_stands_before_an_old_one_goes(region: Recording) -> None:
    rolling = named(region, ":Deployment", "serve-coder").inputs["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_disruption_takes_one_replica_at_a_time(region: Recording) -> None:
    assert named(region, ":PodDisruptionBudget", "serve-coder").inputs["spec"]["maxUnavailable"] == 1


def test_traffic_follows_readiness_and_restarts_follow_life(region: Recording) -> None:
    main = main_of(named(region, ":Deployment", "serve-coder"))
    assert main["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert (
        main["livenessProbe"]["httpGet"]["path"]
        == main["startupProbe"]["httpGet"]["path"]
        == "/v2/health/live"
    )
    assert {main[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {"http"}


def test_a_replica_is_killed_only_after_its_answers_had_the_settings_time(region: Recording) -> None:
    made = named(region, ":Deployment", "serve-coder")
    command = main_of(made)["command"]
    assert option(command, "--drain-seconds") == str(ENDPOINT.drain)
    assert main_of(made)["lifecycle"]["preStop"]["sleep"]["seconds"] == LEAVING_SECONDS
    assert template_of(made)["terminationGracePeriodSeconds"] > LEAVING_SECONDS + ENDPOINT.drain


def test_replicas_spread_over_zones_and_nodes(region: Recording) -> None:
    constraints = template_of(named(region, ":Deployment", "serve-coder"))["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", pods.HOSTNAME]
    assert {json.dumps(one["labelSelector"]["matchLabels"], sort_keys=True) for one in constraints} == {
        json.dumps(pods.selector(pods.SERVING, "coder"), sort_keys=True)
    }


def test_each_replica_has_an_address_for_the_gateway(region: Recording) -> None:
    spec = named(region, ":Service", "serve-coder").inputs["spec"]
    assert spec["clusterIP"] == "None" and spec["selector"] == pods.selector(pods.SERVING, "coder")


def test_the_selector_of_a_deployment_chooses_its_own_pods_only(region: Recording) -> None:
    deployments = region.of(":Deployment")
    for made in deployments:
        wanted = made.inputs["spec"]["selector"]["matchLabels"].items()
        chosen = [
            other
            for other in deployments
            if wanted <= other.inputs["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert chosen == [made]


def test_the_address_is_the_services_name_and_port_and_nothing_without_replicas() -> None:
    def program() -> Any:
        region = region_over(PlainHost("here"))
        version = region.publish(GIVEN, None)
        return [region.serve(service, version).address for service in (SECOND, IDLE)]

    standing, idle = (json.loads(address) for address in recorded(program).returned)
    assert standing == [["serve-given.skerry.svc.cluster.local", 8000]] and idle == []


def test_a_replica_that_others_reach_says_that_the_gateway_stands_in_front(region: Recording) -> None:
    command = main_of(named(region, ":Deployment", "serve-coder"))["command"]
    assert option(command, "--host") == "0.0.0.0"
    assert "--no-auth" in command, "without it the server refuses to listen there"


def test_keys_come_from_a_secret_by_its_name_and_only_callers_with_one_are_answered() -> None:
    keyed = ServiceSettings(name="given", model="given", pool="pool", api_keys="callers")
    made = named(whole_region((SERVICE, keyed)), ":Deployment", "serve-given")
    main, template = main_of(made), template_of(made)
    assert option(main["command"], "--api-keys-file") == "/etc/skerry/api-keys/keys"
    assert "--no-auth" not in main["command"]
    (volume,) = (one for one in template["volumes"] if "secret" in one)
    assert volume["secret"] == {"secretName": "callers", "defaultMode": 0o440, "optional": True}
    (mount,) = (one for one in main["volumeMounts"] if one["name"] == volume["name"])
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/skerry/api-keys", True)


def test_a_replica_is_told_its_limits_and_where_compiled_layers_outlive_its_container() -> None:
    limits = LimitSettings(slots=3, queue=4, cache_mib=5, requests_per_minute=6)
    made = named(
        whole_region((SERVICE, SECOND.model_copy(update={"limits": limits}))), ":Deployment", "serve-given"
    )
    command = main_of(made)["command"]
    told = [option(command, flag) for flag in ("--slots", "--queue", "--cache-mib", "--requests-per-minute")]
    assert told == ["3", "4", "5", "6"]
    mounts = [mount["mountPath"] for mount in main_of(made)["volumeMounts"]]
    assert option(command, "--compile-cache").rpartition("/")[0] in mounts


def test_a_service_waits_for_a_node_on_the_last_rung_and_up_waits_for_the_service() -> None:
    made = named(whole_region(), ":Deployment", "serve-coder")
    two_rungs, load = 2 * 15 * 60, 20 * 60
    assert made.inputs["spec"]["progressDeadlineSeconds"] == two_rungs + load
    assert made.custom_timeouts == {
        "create": f"{two_rungs + load + 300}s",
        "update": f"{two_rungs + load + 300}s",
    }
