"""The network of a region."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.aws.regions import ACCOUNT, NETWORK, REGION, ZONES, made, one, policies, region

NAME = f"{REGION}-network"


def test_the_vpc_has_the_range_of_the_settings_and_names_inside() -> None:
    vpc = one(":Vpc", NAME)
    assert vpc["cidrBlock"] == NETWORK.cidr and vpc["enableDnsHostnames"] and vpc["enableDnsSupport"]


def test_there_are_two_subnets_in_each_zone_and_no_machine_gets_a_public_address() -> None:
    subnets = [found.inputs for found in region().of(":Subnet")]
    assert sorted(found["availabilityZone"] for found in subnets) == sorted(ZONES * 2)
    assert not any(found["mapPublicIpOnLaunch"] for found in subnets)


def routes(table: str, destination: str) -> dict[str, Any]:
    """What a route of a table leads to."""
    route = dict(one(":Route", f"{NAME}-{table}-to-{destination}"))
    assert route.pop("routeTableId") == f"{NAME}-{table}-table-id"
    return route


def test_each_zone_goes_out_by_a_nat_gateway_of_its_own() -> None:
    found = [routes(f"private-{zone}", "0.0.0.0-0") for zone in ZONES]
    assert found == [
        {"destinationCidrBlock": "0.0.0.0/0", "natGatewayId": f"{NAME}-{zone}-id"} for zone in ZONES
    ]
    assert len(region().of(":Eip")) == len(ZONES)


def test_the_public_subnets_go_out_by_the_internet_gateway() -> None:
    assert routes("public", "0.0.0.0-0") == {"destinationCidrBlock": "0.0.0.0/0", "gatewayId": f"{NAME}-id"}
    assert one(":InternetGateway", NAME)


@pytest.mark.parametrize("zone", ZONES)
def test_every_zone_has_the_routes_to_joined_networks(zone: str) -> None:
    assert routes(f"private-{zone}", "10.64.0.0-24") == {
        "destinationCidrBlock": "10.64.0.0/24",
        "vpcPeeringConnectionId": "pcx-0123456789abcdef0",
    }


def test_no_table_owns_a_list_of_routes_that_a_refresh_would_enforce() -> None:
    tables = region().of(":RouteTable")
    assert len(tables) == 1 + len(ZONES) and not any("routes" in table.inputs for table in tables)


def test_a_subnet_gets_a_table_only_when_its_routes_stand() -> None:
    links = region().of(":RouteTableAssociation")
    assert links
    for link in links:
        tables = {urn for urn in link.dependencies if urn.endswith("-table")}
        (table,) = tables
        kind = table.rpartition("::")[2].removesuffix("-table")
        made = {found.urn for found in region().of(":Route") if found.name.startswith(f"{kind}-to-")}
        assert made and made <= link.dependencies


def test_every_subnet_has_the_table_of_its_kind() -> None:
    links = {found.name for found in region().of(":RouteTableAssociation")}
    assert links == {f"{NAME}-{kind}-{zone}" for kind in ("public", "private") for zone in ZONES}


def test_s3_is_reached_past_the_nat_gateways() -> None:
    endpoint = one(":VpcEndpoint", NAME)
    assert endpoint["serviceName"] == f"com.amazonaws.{REGION}.s3"
    assert endpoint["vpcEndpointType"] == "Gateway" and len(endpoint["routeTableIds"]) == len(ZONES)


def test_the_default_security_group_has_no_rules() -> None:
    group = one(":DefaultSecurityGroup", NAME)
    assert "ingress" not in group and "egress" not in group


def test_refused_flows_are_logged() -> None:
    flows = one(":FlowLog", NAME)
    assert flows["trafficType"] == "REJECT" and flows["logDestinationType"] == "cloud-watch-logs"


def test_only_flow_logs_of_the_account_may_be_written_and_to_one_group() -> None:
    (trust,) = policies()[f"aws:iam/role:Role {NAME}-flows assumeRolePolicy"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    (write,) = policies()[f"aws:iam/rolePolicy:RolePolicy {NAME}-flows policy"]
    group, streams = write["Resource"]
    assert group == one(":FlowLog", NAME)["logDestination"] and streams == f"{group}:*"


def test_callers_are_the_private_subnets() -> None:
    recording = made(lambda host: host.callers)
    assert list(recording.returned) == ["10.16.64.0/18", "10.16.128.0/18"]


def test_nodes_control_plane_and_load_balancer_stand_in_private_subnets_only() -> None:
    private = [f"{NAME}-private-{zone}-id" for zone in ZONES]
    assert all(set(found.inputs["subnetIds"]) <= set(private) for found in region().of(":NodeGroup"))
    assert one("eks/cluster:Cluster", f"{REGION}-cluster")["vpcConfig"]["subnetIds"] == private
    assert one("lb/loadBalancer:LoadBalancer", f"{REGION}-endpoint")["subnets"] == private
