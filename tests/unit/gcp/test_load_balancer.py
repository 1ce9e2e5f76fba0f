"""The way in: a region's endpoint groups, and the global load balancer over them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi import Output, ResourceOptions

from components.contracts import HEALTH_PATH, RegionEndpoint, RegionTraffic
from components.gcp.dials import SMALLEST_DIAL, capacity_scaler
from components.gcp.load_balancer import GcpGlobalLoadBalancer, groups_of
from components.gcp.providers import google_provider
from components.settings.items import EndpointSettings, HealthSettings
from tests.recorder import Recording, record
from tests.unit.gcp.regions import (
    ACCOUNT_EMAIL,
    ANSWERS,
    CLUSTER_IP,
    ENDPOINT,
    LABELS,
    PROJECT,
    REGION,
    ZONES,
    backend,
    made,
    one,
)

GROUP = f"skerry-dev-{REGION}"
HANDLES = {
    region: json.dumps(
        {"project": PROJECT, "group": f"skerry-dev-{region}", "zones": [f"{region}-a", f"{region}-b"]}
    )
    for region in ("us-central1", "europe-west4")
}
SETTINGS = EndpointSettings(
    request_timeout_seconds=900,
    drain_seconds=45,
    health=HealthSettings(interval_seconds=7, unhealthy_after=3, healthy_after=2),
)


def attached() -> Recording:
    def ask(host: Any) -> Any:
        endpoint = host.attach(backend(), ENDPOINT)
        return {"url": endpoint.url, "handle": endpoint.handle, "callers": host.callers}

    return made(ask)


def balanced(settings: EndpointSettings = SETTINGS, **traffic: tuple[float, bool]) -> Recording:
    """The global layer over two regions; a region that is not named has the dial 1."""

    def program() -> Any:
        everywhere: dict[str, RegionTraffic] = {}
        provider = google_provider("global", PROJECT, LABELS)
        for region, handle in HANDLES.items():
            endpoint = RegionEndpoint(Output.from_input("http://in.side"), Output.from_input(handle))
            dial, drained = traffic.get(region.partition("-")[0], (1.0, False))
            everywhere[region] = RegionTraffic(endpoint, dial, drained)
        balancer = GcpGlobalLoadBalancer(
            "global",
            {
                "domain": "inference.example.com",
                "rate": 50,
                "traffic": everywhere,
            },
            settings,
            ResourceOptions(providers=[provider]),
        )
        return balancer.url

    return record(program, ANSWERS)


def scalers(recording: Recording) -> Mapping[str, float]:
    made_so = one(recording, "BackendService")["backends"]
    return {entry["group"].split("/zones/")[1].split("/")[0]: entry["capacityScaler"] for entry in made_so}


def test_the_service_asks_for_endpoint_groups_under_a_published_name() -> None:
    annotations = one(attached(), "Service")["metadata"]["annotations"]
    assert json.loads(annotations["cloud.google.com/neg"]) == {"exposed_ports": {"80": {"name": GROUP}}}


def test_the_endpoint_groups_are_awaited() -> None:
    annotations = one(attached(), "Service")["metadata"]["annotations"]
    assert annotations["pulumi.com/waitFor"] == (
        "jsonpath={.metadata.annotations['cloud.google.com/neg-status']}"
    )


def test_the_service_is_for_the_cluster_alone_and_leads_to_the_gateway() -> None:
    spec = one(attached(), "Service")["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["selector"] == {"app": "gateway"}
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": 10000}]


def test_the_firewall_lets_googles_front_ends_to_the_gateways_port_on_nodes() -> None:
    rule = one(attached(), "Firewall")
    assert rule["direction"] == "INGRESS"
    assert rule["sourceRanges"] == ["130.211.0.0/22", "35.191.0.0/16"]
    assert rule["targetServiceAccounts"] == [ACCOUNT_EMAIL]
    assert rule["allows"] == [{"protocol": "tcp", "ports": ["10000"]}]


def test_network_policies_are_told_the_same_callers_as_the_firewall() -> None:
    recording = attached()
    assert list(recording.returned["callers"]) == one(recording, "Firewall")["sourceRanges"]


def test_a_region_is_reached_within_its_cluster() -> None:
    assert attached().returned["url"] == f"http://{CLUSTER_IP}:80"


def test_a_handle_names_the_endpoint_group_of_every_zone() -> None:
    assert groups_of(attached().returned["handle"]) == [
        f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}/networkEndpointGroups/{GROUP}"
        for zone in ZONES
    ]


def test_every_group_of_every_region_is_a_backend_by_rate() -> None:
    entries = one(balanced(), "BackendService")["backends"]
    assert [entry["group"] for entry in entries] == [
        group for handle in HANDLES.values() for group in groups_of(handle)
    ]
    assert {(entry["balancingMode"], entry["maxRatePerEndpoint"]) for entry in entries} == {("RATE", 50)}


def test_a_dial_scales_every_group_of_its_region_and_no_other() -> None:
    assert scalers(balanced(europe=(0.5, False))) == {
        "us-central1-a": 1.0,
        "us-central1-b": 1.0,
        "europe-west4-a": 0.5,
        "europe-west4-b": 0.5,
    }


def test_a_drained_region_stays_a_backend_without_capacity() -> None:
    assert set(scalers(balanced(us=(1.0, True))).items()) >= {("us-central1-a", 0.0), ("europe-west4-a", 1.0)}


def test_a_dial_that_no_scaler_stands_for_leaves_nothing_made() -> None:
    with pytest.raises(Exception, match="dial: 0.05 -- a capacity scaler is 0, which drains, or 0.1 to 1.0"):
        balanced(us=(0.05, False))


@given(st.floats(SMALLEST_DIAL, 1))
def test_a_dial_is_its_own_scaler(dial: float) -> None:
    assert capacity_scaler(dial, drained=False) == dial


@given(st.floats(0, 1))
def test_a_drained_region_has_no_capacity_whatever_its_dial(dial: float) -> None:
    assert capacity_scaler(dial, drained=True) == 0


@given(st.floats(allow_nan=False).filter(lambda dial: not SMALLEST_DIAL <= dial <= 1))
def test_any_other_dial_is_refused_with_a_remedy(dial: float) -> None:
    with pytest.raises(ValueError, match=r"Choose at least 0\.1, or drain the region"):
        capacity_scaler(dial, drained=False)


def test_the_gateway_ends_an_answer_before_google_does_and_says_why() -> None:
    service = one(balanced(), "BackendService")
    assert service["timeoutSec"] == 900 + 30 + 20, "the answer's, that of the request's arrival, and a margin"
    assert service["connectionDrainingTimeoutSec"] == 45


def test_requests_are_logged() -> None:
    assert one(balanced(), "BackendService")["logConfig"] == {"enable": True, "sampleRate": 1}


def test_health_is_asked_as_the_settings_say() -> None:
    check = one(balanced(), "HealthCheck")
    assert check["httpHealthCheck"] == {"portSpecification": "USE_SERVING_PORT", "requestPath": HEALTH_PATH}
    assert (check["checkIntervalSec"], check["timeoutSec"]) == (7, 5)
    assert (check["unhealthyThreshold"], check["healthyThreshold"]) == (3, 2)


def test_a_probe_does_not_outlast_its_interval() -> None:
    quick = EndpointSettings(health=HealthSettings(interval_seconds=2))
    assert one(balanced(quick), "HealthCheck")["timeoutSec"] == 2


def test_the_world_comes_by_tls_alone() -> None:
    recording = balanced()
    assert [rule.inputs["portRange"] for rule in recording.of(":GlobalForwardingRule")] == ["443"]
    assert recording.of(":TargetHttpProxy") == []
    assert one(recording, "SSLPolicy") == {"profile": "RESTRICTED", "minTlsVersion": "TLS_1_2"}
    assert one(recording, "TargetHttpsProxy")["sslPolicy"] == "global-id"


def test_the_certificate_is_the_domains() -> None:
    recording = balanced()
    assert one(recording, "ManagedSslCertificate")["managed"] == {"domains": ["inference.example.com"]}
    assert recording.returned == "https://inference.example.com"


def test_it_is_the_global_load_balancer_on_one_reserved_address() -> None:
    recording = balanced()
    schemes = {
        one(recording, kind)["loadBalancingScheme"] for kind in ("BackendService", "GlobalForwardingRule")
    }
    assert schemes == {"EXTERNAL_MANAGED"}
    assert one(recording, "GlobalForwardingRule")["ipAddress"] == "203.0.113.7"


def test_the_global_layer_makes_nothing_regional() -> None:
    kinds = {made_so.kind.rpartition(":")[2] for made_so in balanced().resources.values()}
    assert not kinds & {"Network", "Cluster", "NodePool", "Bucket", "kubernetes"}
