"""The network of a region: nodes in private subnets, and a way out in every zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from components.aws.logs import log_group
from components.aws.policies import Statement, document, service_trust
from components.aws.reach import TARGETS
from components.aws.settings import AwsNetwork
from components.aws.subnets import ZoneSubnets, plan

ANYWHERE = "0.0.0.0/0"


class AwsVpcArgs(TypedDict):
    """Args of `AwsVpc`."""

    account: str
    """Account that it is in."""
    region: str
    """Region that it spans."""
    network: AwsNetwork
    """Its range and zones."""
    logs_key: Input[str]
    """ARN of the key for logs."""


class AwsVpc(pulumi.ComponentResource):
    """One VPC with two subnets per zone. A zone has a NAT gateway of its own: the loss of another one takes nothing
    from it, and no byte pays for crossing zones. S3 is reached by a gateway endpoint, past the NAT gateways and free
    (VPC guide, "Gateway endpoints", read 2026-11-24).

    Nothing listens in the public subnets. The internet gateway is also what Global Accelerator wants of a VPC before it
    reaches a load balancer in private subnets (Global Accelerator Developer Guide, "Requirements for endpoints with
    client IP address preservation", read 2026-11-24).
    """

    def __init__(self, name: str, args: AwsVpcArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsVpc", name, {}, opts)
        network = args["network"]
        self._name, self._mine = name, ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            name,
            cidr_block=network.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=self._mine,
        )
        # A new VPC's default group lets its members reach each other; taken over without rules it lets nobody.
        self.default_group = aws.ec2.DefaultSecurityGroup(name, vpc_id=self.vpc.id, opts=self._mine)
        self.internet = aws.ec2.InternetGateway(name, vpc_id=self.vpc.id, opts=self._mine)
        self.public_table = self._table("public", {ANYWHERE: {"gateway_id": self.internet.id}})
        self.subnets = plan(network.cidr, network.zones)
        self.private_tables: dict[str, Output[str]] = {}
        self._joined = {
            route.destination: {TARGETS[route.target.partition("-")[0]]: route.target}
            for route in network.extra_routes
        }
        ways: dict[str, list[Output[str]]] = {}
        for zone, subnets in self.subnets.items():
            ways[zone] = self._zone(zone, subnets)
        self.bucket_endpoint = aws.ec2.VpcEndpoint(
            name,
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{args['region']}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=list(self.private_tables.values()),
            opts=self._mine,
        )
        self._log_refused(args)
        self.private = {
            zone: Output.all(*way, self.bucket_endpoint.id).apply(lambda ids: ids[0])
            for zone, way in ways.items()
        }
        """Zone -> id of its private subnet, known when nodes in it find a way out: without one, none becomes ready."""
        self.private_cidrs = tuple(str(subnets.private) for subnets in self.subnets.values())
        """Where nodes, pods and the load balancer send from."""
        self.register_outputs({"vpc": self.vpc.id, "private": self.private})

    def _zone(self, zone: str, subnets: ZoneSubnets) -> list[Output[str]]:
        """Both subnets of a zone; the id of the private one, and of what it needs to reach the world."""
        public = self._subnet(f"public-{zone}", zone, str(subnets.public))
        linked = self._link(f"public-{zone}", public, self.public_table)
        address = aws.ec2.Eip(f"{self._name}-{zone}", domain="vpc", opts=self._mine)
        nat = aws.ec2.NatGateway(
            f"{self._name}-{zone}",
            allocation_id=address.id,
            # Without a route out it would be made, and fail later.
            subnet_id=Output.all(public.id, linked.id).apply(lambda ids: ids[0]),
            opts=self._mine,
        )
        table = self._table(f"private-{zone}", {ANYWHERE: {"nat_gateway_id": nat.id}, **self._joined})
        private = self._subnet(f"private-{zone}", zone, str(subnets.private))
        self.private_tables[zone] = table
        return [private.id, self._link(f"private-{zone}", private, table).id]

    def _table(self, suffix: str, ways: Mapping[str, Mapping[str, Input[str]]]) -> Output[str]:
        """Id of a table, known when its routes stand. Each route is a resource of its own, so that a refresh takes out
        no route that somebody else made, and a table is used only when it has all its routes."""
        table = aws.ec2.RouteTable(
            f"{self._name}-{suffix}-table",
            vpc_id=self.vpc.id,
            tags={"Name": f"{self._name}-{suffix}"},
            opts=self._mine,
        )
        routes = [
            aws.ec2.Route(
                f"{self._name}-{suffix}-to-{destination.replace('/', '-')}",
                route_table_id=table.id,
                destination_cidr_block=destination,
                opts=self._mine,
                **way,
            )
            for destination, way in ways.items()
        ]
        return Output.all(table.id, *(route.id for route in routes)).apply(lambda ids: ids[0])

    def _subnet(self, suffix: str, zone: str, cidr: str) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            f"{self._name}-{suffix}",
            vpc_id=self.vpc.id,
            availability_zone=zone,
            cidr_block=cidr,
            map_public_ip_on_launch=False,
            tags={"Name": f"{self._name}-{suffix}"},
            opts=self._mine,
        )

    def _link(self, suffix: str, subnet: aws.ec2.Subnet, table: Output[str]) -> aws.ec2.RouteTableAssociation:
        return aws.ec2.RouteTableAssociation(
            f"{self._name}-{suffix}", subnet_id=subnet.id, route_table_id=table, opts=self._mine
        )

    def _log_refused(self, args: AwsVpcArgs) -> None:
        """Flows that a rule refused: what was let through would cost by the byte and tell of no mistake."""
        self.flow_logs = log_group(f"{self._name}-flows", args["logs_key"], self._mine)
        own = {"aws:SourceAccount": args["account"]}
        self.flow_role = aws.iam.Role(
            f"{self._name}-flows",
            assume_role_policy=service_trust("vpc-flow-logs.amazonaws.com", StringEquals=own),
            opts=self._mine,
        )
        writes = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
        self.flow_policy = aws.iam.RolePolicy(
            f"{self._name}-flows",
            role=self.flow_role.id,
            policy=self.flow_logs.arn.apply(
                lambda arn: document(Statement(writes, (arn, f"{arn}:*"), reason="StreamsOfOneGroup"))
            ),
            opts=self._mine,
        )
        self.flow_log = aws.ec2.FlowLog(
            self._name,
            vpc_id=self.vpc.id,
            traffic_type="REJECT",
            log_destination_type="cloud-watch-logs",
            log_destination=self.flow_logs.arn,
            iam_role_arn=Output.all(self.flow_role.arn, self.flow_policy.id).apply(lambda known: known[0]),
            opts=self._mine,
        )
