"""The way in: a load balancer in front of a region's gateway, and Global Accelerator in front of all regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi import Input, Output, ResourceOptions
from pulumi_aws.lb import TargetGroupHealthCheckArgsDict

from components.aws.settings import LONGEST_PAUSE_SECONDS
from components.contracts import HEALTH_PATH, Backend, Front, RegionTraffic
from components.settings.items import EndpointSettings, HealthSettings

FRONT = Front(hops=1, silence_seconds=LONGEST_PAUSE_SECONDS)
"""The Application Load Balancer appends the client's address to `X-Forwarded-For` (Application Load Balancers guide,
"HTTP headers and Application Load Balancers", read 2026-12-01); Global Accelerator passes connections on."""
LATER_SECONDS = 5
"""By which the load balancer waits longer than the gateway, whose errors are the API's."""
SERVICE, SERVICE_PORT = "gateway", 80
NODE_PORT = 30080
"""Fixed, so that target group and firewall know it: within Kubernetes' 30000 to 32767."""
HTTPS = 443
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3 only (Application Load Balancers guide, "Security policies", and moto 5.2.5, elbv2/ssl_policies.py,
read 2026-11-24)."""
ANYWHERE = "0.0.0.0/0"
LEAST_INTERVAL_SECONDS, LEAST_CHECKS = 5, 2
"""Of a target group's health check: between two of them, and in a row (Elastic Load Balancing API as modelled in
botocore 1.44.8, CreateTargetGroup, read 2026-11-24)."""
CHECK_SECONDS = 4
"""How long one may take: of 2 to 120 (same source), and less than the interval."""
WEIGHT = 128
"""Of a region's only endpoint, the default: any but 0 would do."""


def health_check(health: HealthSettings) -> TargetGroupHealthCheckArgsDict:
    """A target group's health check: as often as the settings say, or else as AWS can."""
    return {
        "path": HEALTH_PATH,
        "protocol": "HTTP",
        "port": "traffic-port",
        "matcher": "200",
        "interval": max(health.interval_seconds, LEAST_INTERVAL_SECONDS),
        "timeout": CHECK_SECONDS,
        "healthy_threshold": max(health.healthy_after, LEAST_CHECKS),
        "unhealthy_threshold": max(health.unhealthy_after, LEAST_CHECKS),
    }


def longest_silence(settings: EndpointSettings) -> int:
    """Longest time without a byte within an answer, in seconds. It is below Global Accelerator's limit, and far below
    the load balancer's own (4000 s: Elastic Load Balancing API, LoadBalancerAttribute `idle_timeout.timeout_seconds`,
    read 2026-12-01)."""
    return max(settings.whole_answer_seconds(FRONT.silence_seconds), settings.idle_timeout_seconds)


class AwsRegionEndpointArgs(TypedDict):
    """Args of `AwsRegionEndpoint`."""

    vpc: Input[str]
    """Id of the VPC."""
    subnets: list[Output[str]]
    """Ids of the private subnets."""
    nodes_group: Input[str]
    """Id of the nodes' security group."""
    scaling_group: Input[str]
    """Name of the system nodes' Auto Scaling group: they hand requests on to whichever node has the gateway."""
    certificate: str
    """ARN of the certificate."""


class AwsRegionEndpoint(pulumi.ComponentResource):
    """An internal Application Load Balancer, made here and not by a controller in the cluster: its ARN is an Output of
    the program. It passes requests to a port that every node has.

    The group in front lets in everybody: Global Accelerator keeps a client's own address on its way in, and nothing but
    it and the VPC reaches an internal load balancer.
    """

    def __init__(
        self,
        name: str,
        args: AwsRegionEndpointArgs,
        backend: Backend,
        settings: EndpointSettings,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:AwsRegionEndpoint", name, {}, opts)
        mine = ResourceOptions(parent=self)
        opened = self._firewall(name, args)
        self.load_balancer = aws.lb.LoadBalancer(
            name,
            internal=True,
            load_balancer_type="application",
            subnets=args["subnets"],
            security_groups=[self.security_group.id],
            idle_timeout=longest_silence(settings) + LATER_SECONDS,
            drop_invalid_header_fields=True,
            opts=mine,
        )
        self.target_group = aws.lb.TargetGroup(
            name,
            vpc_id=args["vpc"],
            target_type="instance",
            protocol="HTTP",
            port=NODE_PORT,
            deregistration_delay=settings.drain,
            health_check=health_check(settings.health),
            opts=mine,
        )
        self.listener = aws.lb.Listener(
            name,
            load_balancer_arn=self.load_balancer.arn,
            protocol="HTTPS",
            port=HTTPS,
            ssl_policy=TLS_POLICY,
            certificate_arn=args["certificate"],
            default_actions=[{"type": "forward", "target_group_arn": self.target_group.arn}],
            opts=mine,
        )
        self.attachment = aws.autoscaling.Attachment(
            name,
            autoscaling_group_name=args["scaling_group"],
            lb_target_group_arn=self.target_group.arn,
            opts=mine,
        )
        self.service = kubernetes.core.v1.Service(
            name,
            metadata={"name": SERVICE, "namespace": backend.namespace},
            spec={
                "type": "NodePort",
                "selector": dict(backend.selector),
                "ports": [
                    {
                        "name": "http",
                        "port": SERVICE_PORT,
                        "target_port": backend.port,
                        "node_port": NODE_PORT,
                    }
                ],
            },
            opts=mine,
        )
        stands = Output.all(
            self.load_balancer.dns_name,
            self.load_balancer.arn,
            self.listener.arn,
            self.attachment.id,
            self.service.id,
            backend.standing,
            *(rule.id for rule in opened),
        )
        self.url = stands.apply(lambda known: f"https://{known[0]}")
        self.handle = stands.apply(lambda known: json.dumps({"load_balancer_arn": known[1]}))
        self.register_outputs({"url": self.url, "handle": self.handle})

    def _firewall(self, name: str, args: AwsRegionEndpointArgs) -> list[pulumi.CustomResource]:
        """From anybody to the load balancer, and from it to one port of the nodes."""
        mine = ResourceOptions(parent=self)
        self.security_group = aws.ec2.SecurityGroup(
            name, vpc_id=args["vpc"], description="Load balancer of the region", opts=mine
        )
        to_nodes = {"ip_protocol": "tcp", "from_port": NODE_PORT, "to_port": NODE_PORT}
        return [
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-clients",
                security_group_id=self.security_group.id,
                description="Clients of Global Accelerator, by their own addresses",
                cidr_ipv4=ANYWHERE,
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                opts=mine,
            ),
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-nodes",
                security_group_id=self.security_group.id,
                description="Nodes",
                referenced_security_group_id=args["nodes_group"],
                opts=mine,
                **to_nodes,
            ),
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-nodes",
                security_group_id=args["nodes_group"],
                description="Load balancer of the region",
                referenced_security_group_id=self.security_group.id,
                opts=mine,
                **to_nodes,
            ),
        ]


class AwsGlobalLoadBalancerArgs(TypedDict):
    """Args of `AwsGlobalLoadBalancer`."""

    domain: str
    """Host name of the certificates; it has to point at `address`."""
    traffic: Mapping[str, RegionTraffic]
    """Region -> its endpoint, its dial and whether it is drained."""


class AwsGlobalLoadBalancer(pulumi.ComponentResource):
    """Global Accelerator: two anycast addresses; a connection goes to the nearest region that is healthy.

    An endpoint may be an internal Application Load Balancer ("Requirements for resources you add as accelerator
    endpoints"). Dial and drain stay two things: a dial is the share that a group keeps of what is already routed to it,
    and a group with dial 0 still takes over; an endpoint of weight 0 takes nothing, and its group is passed over ("How
    failover works for unhealthy endpoints"). A running connection stays where it is in both cases.

    Nothing is said of a group's own health check: it is for instances and addresses, and for load balancers the
    settings of their target groups are used ("Endpoint groups for standard accelerators"). All pages are the Global
    Accelerator Developer Guide's, read 2026-11-24.
    """

    def __init__(
        self,
        name: str,
        args: AwsGlobalLoadBalancerArgs,
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:AwsGlobalLoadBalancer", name, {}, opts)
        mine = ResourceOptions(parent=self)
        self.accelerator = aws.globalaccelerator.Accelerator(
            name, ip_address_type="IPV4", enabled=True, opts=mine
        )
        self.listener = aws.globalaccelerator.Listener(
            name,
            accelerator_arn=self.accelerator.arn,
            protocol="TCP",
            port_ranges=[{"from_port": HTTPS, "to_port": HTTPS}],
            client_affinity="NONE",
            opts=mine,
        )
        self.groups = {
            region: aws.globalaccelerator.EndpointGroup(
                f"{name}-{region}",
                listener_arn=self.listener.arn,
                endpoint_group_region=region,
                traffic_dial_percentage=given.dial * 100,
                endpoint_configurations=[
                    {
                        "endpoint_id": given.endpoint.handle.apply(load_balancer_of),
                        "weight": 0 if given.drained else WEIGHT,
                        "client_ip_preservation_enabled": True,
                    }
                ],
                opts=mine,
            )
            for region, given in args["traffic"].items()
        }
        self.address = self.accelerator.dns_name
        known = Output.all(*(group.id for group in self.groups.values()))
        self.url = known.apply(lambda _: f"https://{args['domain']}")
        self.register_outputs({"url": self.url, "address": self.address})


def load_balancer_of(handle: str) -> str:
    """ARN of a region's load balancer."""
    return json.loads(handle)["load_balancer_arn"]
