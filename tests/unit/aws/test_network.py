"""The network of a region."""

from __future__ import annotations

from tests.unit.aws.regions import ACCOUNT, NETWORK, REGION, ZONES, made, one, policies, region

NAME = f"{REGION}-network"


def test_the_vpc_has_the_range_of_the_settings_and_names_inside() -> None:
    vpc = one(":Vpc", NAME)
    assert vpc["cidrBlock"] == NETWORK.cidr and vpc["enableDnsHostnames"] and vpc["enableDnsSupport"]


def test_there_are_two_subnets_in_each_zone_and_no_machine_gets_a_public_address() -> None:
    subnets = [found.inputs for found in region().of(":Subnet")]
    assert sorted(found["availabilityZone"] for found in subnets) == sorted(ZONES * 2)
    assert not any(found["mapPublicIpOnLaunch"] for found in subnets)


def test_each_zone_goes_out_by_a_nat_gateway_of_its_own() -> None:
    gateways = {
        table.name: table.inputs["routes"][0]["natGatewayId"]
        for table in region().of(":RouteTable")
        if "natGatewayId" in table.inputs["routes"][0]
    }
    assert set(gateways) == {f"{NAME}-private-{zone}" for zone in ZONES}
    assert len(set(gateways.values())) == len(ZONES) == len(region().of(":Eip"))


def test_the_public_subnets_go_out_by_the_internet_gateway() -> None:
    (route,) = one(":RouteTable", f"{NAME}-public")["routes"]
    assert (route["cidrBlock"], route["gatewayId"]) == ("0.0.0.0/0", f"{NAME}-id")
    assert one(":InternetGateway", NAME)


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
