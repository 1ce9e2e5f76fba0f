"""The regional endpoint, and Global Accelerator over the regions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pulumi import Output, ResourceOptions

from components.aws.load_balancer import (
    CHECK_SECONDS,
    LATER_SECONDS,
    NODE_PORT,
    AwsGlobalLoadBalancer,
    health_check,
    load_balancer_of,
    longest_silence,
)
from components.aws.providers import GLOBAL_REGION, aws_provider
from components.aws.settings import LONGEST_PAUSE_SECONDS
from components.catalog.aws import REGIONS
from components.contracts import HEALTH_PATH, RegionEndpoint, RegionTraffic
from components.settings.items import EndpointSettings, HealthSettings
from tests.recorder import Recording, record
from tests.stand_ins import StandIns
from tests.unit.aws.regions import ACCOUNT, CERTIFICATE, ENDPOINT, REGION, backend, made, one
from tests.unit.settings.files import ROOT

NAME = f"{REGION}-endpoint"
LONGEST_NAME = 32 - 8
"""Of a load balancer and of a target group (Elastic Load Balancing API reference, read 2026-11-24), less what
autonaming appends."""
healths = some.builds(
    HealthSettings,
    interval_seconds=some.integers(1, 300),
    unhealthy_after=some.integers(1, 10),
    healthy_after=some.integers(1, 10),
)


def arn(region: str) -> str:
    return (
        f"arn:aws:elasticloadbalancing:{region}:{ACCOUNT}:loadbalancer/app/{region}-endpoint/0123456789abcdef"
    )


def over(**traffic: tuple[float, bool]) -> Recording:
    """Global Accelerator over regions; region with '_' -> dial, drained."""

    def entry(region: str, dial: float, drained: bool) -> RegionTraffic:
        handle = Output.from_input(json.dumps({"load_balancer_arn": arn(region)}))
        return RegionTraffic(
            RegionEndpoint(Output.from_input("https://x.example.com"), handle), dial, drained
        )

    def program() -> Any:
        provider = aws_provider("global-aws", ACCOUNT, GLOBAL_REGION, {})
        regions = {name.replace("_", "-"): given for name, given in traffic.items()}
        return AwsGlobalLoadBalancer(
            "global",
            {
                "domain": "inference.example.com",
                "traffic": {name: entry(name, *given) for name, given in regions.items()},
            },
            ResourceOptions(providers=[provider]),
        ).url

    return record(program, StandIns())


def group(recording: Recording, region: str) -> Any:
    return one(":EndpointGroup", f"global-{region}", recording)


def test_the_load_balancer_is_internal_and_drops_what_is_no_header() -> None:
    found = one("lb/loadBalancer:LoadBalancer", NAME)
    assert found["internal"] is True and found["dropInvalidHeaderFields"] is True


def test_the_end_of_a_target_is_the_settings() -> None:
    assert one(":TargetGroup", NAME)["deregistrationDelay"] == ENDPOINT.drain == 20


@pytest.mark.parametrize(("longest", "pause", "kept"), [(300, 60, 305), (60, 90, 95), (3600, 60, 335)])
def test_a_connection_is_kept_for_the_longest_answer_that_is_not_streamed_but_no_longer_than_in_front(
    longest: int, pause: int, kept: int
) -> None:
    settings = EndpointSettings(request_timeout_seconds=longest, idle_timeout_seconds=pause)
    assert longest_silence(settings) + LATER_SECONDS == kept <= LONGEST_PAUSE_SECONDS


def test_the_longest_answer_that_is_not_streamed_is_described_where_the_setting_is() -> None:
    longest = EndpointSettings(request_timeout_seconds=3600).whole_answer_seconds(LONGEST_PAUSE_SECONDS)
    described = EndpointSettings.model_fields["request_timeout_seconds"].description or ""
    assert f"ends after {longest} seconds at most" in described
    assert f"ends after {longest} seconds at most" in (ROOT / "stacks" / "README.md").read_text()


def test_the_load_balancer_keeps_a_connection_for_that_long() -> None:
    kept = one("lb/loadBalancer:LoadBalancer", NAME)["idleTimeout"]
    assert kept == longest_silence(ENDPOINT) + LATER_SECONDS


def test_it_speaks_tls_only_with_the_certificate_of_the_settings() -> None:
    found = one("lb/listener:Listener", NAME)
    assert (found["protocol"], found["port"], found["certificateArn"]) == ("HTTPS", 443, CERTIFICATE)
    assert found["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"


def test_health_is_set_on_the_target_group() -> None:
    found = one(":TargetGroup", NAME)["healthCheck"]
    assert (found["path"], found["interval"]) == (HEALTH_PATH, 10)
    assert (found["unhealthyThreshold"], found["healthyThreshold"]) == (3, 4)


@given(healths)
def test_a_health_check_is_one_that_aws_takes(health: HealthSettings) -> None:
    found: Any = health_check(health)
    assert 5 <= found["interval"] <= 300 and 2 <= found["timeout"] < found["interval"]
    assert 2 <= found["healthy_threshold"] <= 10 and 2 <= found["unhealthy_threshold"] <= 10
    assert found["timeout"] == CHECK_SECONDS


@given(healths.filter(lambda health: health.interval_seconds >= 5))
def test_an_interval_that_aws_can_keep_is_kept(health: HealthSettings) -> None:
    found: Any = health_check(health)
    assert found["interval"] == health.interval_seconds


def test_requests_go_to_a_port_of_the_system_nodes_and_from_there_to_the_gateway() -> None:
    targets = one(":TargetGroup", NAME)
    assert (targets["targetType"], targets["port"], targets["protocol"]) == ("instance", NODE_PORT, "HTTP")
    assert one(":Attachment", NAME)["autoscalingGroupName"].startswith("eks-")
    spec = one(":Service", NAME)["spec"]
    assert spec["type"] == "NodePort" and spec["selector"] == {"app": "gateway"}
    assert [(port["nodePort"], port["targetPort"]) for port in spec["ports"]] == [(NODE_PORT, 10000)]


def test_the_world_reaches_one_port_of_the_load_balancer_and_it_alone_the_nodes() -> None:
    world = one(":SecurityGroupIngressRule", f"{NAME}-clients")
    assert (world["cidrIpv4"], world["fromPort"], world["toPort"]) == ("0.0.0.0/0", 443, 443)
    nodes = one(":SecurityGroupIngressRule", f"{NAME}-nodes")
    assert nodes["referencedSecurityGroupId"] == world["securityGroupId"] and "cidrIpv4" not in nodes
    out = one(":SecurityGroupEgressRule", f"{NAME}-nodes")
    assert (nodes["securityGroupId"], nodes["fromPort"]) == (out["referencedSecurityGroupId"], NODE_PORT)
    assert one("lb/loadBalancer:LoadBalancer", NAME)["securityGroups"] == [world["securityGroupId"]]


def test_the_endpoint_tells_its_load_balancer() -> None:
    def look(host: Any) -> Any:
        endpoint = host.attach(backend(), ENDPOINT)
        return {"url": endpoint.url, "arn": endpoint.handle.apply(load_balancer_of)}

    recording = made(look)
    listener = one("lb/listener:Listener", NAME, recording)
    assert recording.returned["arn"] == listener["loadBalancerArn"]
    assert recording.returned["url"].startswith("https://")


@pytest.mark.parametrize("region", REGIONS)
def test_the_endpoints_name_fits_a_load_balancer_in_every_region(region: str) -> None:
    assert len(f"{region}-endpoint") <= LONGEST_NAME


def test_the_world_comes_by_tls_and_belongs_to_no_endpoint() -> None:
    listener = one("globalaccelerator/listener:Listener", "global", over(us_east_1=(1, False)))
    assert listener["portRanges"] == [{"fromPort": 443, "toPort": 443}]
    assert (listener["protocol"], listener["clientAffinity"]) == ("TCP", "NONE")


def test_the_url_is_the_domain_of_the_settings() -> None:
    assert over(us_east_1=(1, False)).returned == "https://inference.example.com"


def test_each_region_is_a_group_with_its_own_load_balancer() -> None:
    recording = over(us_east_1=(1, False), eu_west_1=(1, False))
    for region in ("us-east-1", "eu-west-1"):
        found = group(recording, region)
        assert found["endpointGroupRegion"] == region
        assert [endpoint["endpointId"] for endpoint in found["endpointConfigurations"]] == [arn(region)]


@given(some.floats(0, 1), some.booleans())
def test_a_dial_is_the_groups_share_and_a_drain_the_endpoints_weight(dial: float, drained: bool) -> None:
    found = group(over(us_east_1=(dial, drained), eu_west_1=(1, False)), "us-east-1")
    assert found["trafficDialPercentage"] == dial * 100
    (endpoint,) = found["endpointConfigurations"]
    assert (endpoint["weight"] == 0) is drained


def test_a_group_says_nothing_of_health_that_would_have_no_effect() -> None:
    found = group(over(us_east_1=(1, False)), "us-east-1")
    assert not [key for key in found if "health" in key.lower() or "threshold" in key.lower()]


def test_clients_keep_their_own_address() -> None:
    (endpoint,) = group(over(us_east_1=(1, False)), "us-east-1")["endpointConfigurations"]
    assert endpoint["clientIpPreservationEnabled"] is True
