"""The network of a region: nodes without public addresses, and a narrow way to Google."""

from __future__ import annotations

from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from components.gcp.settings import GcpNetwork

RESOLVERS = ("169.254.20.10/32", "169.254.169.254/32")
"""Where pods ask for names on nodes with a cache of their own (NodeLocal DNSCache) and with Cloud DNS for GKE; a
cluster without either answers from kube-system. Unresolved: from memory, not looked up."""
GOOGLE_NAMES = "googleapis.com."
PRIVATE_NAME = "private.googleapis.com."
PRIVATE_ADDRESSES = tuple(f"199.36.153.{number}" for number in range(8, 12))
PRIVATE_RANGE = "199.36.153.8/30"
"""Where Google's APIs answer inside a VPC under one small range. Source: DNS policies of net-core-0.yaml in
GoogleCloudPlatform/cloud-foundation-fabric at 11c1d248 (the four addresses and the wildcard) and google/skills at
1af77752 (the range), read 2026-11-24. Google's page itself was not opened."""
NAME_SECONDS = 300
"""Time to live of the names above."""
FLOW_SAMPLING = 0.5
"""Share of flows that are logged, Google's default: `SubnetworkLogConfig.flowSampling` in the discovery document of
compute v1."""
PODS, SERVICES = "pods", "services"
"""Names of the secondary ranges."""


class GcpVpcArgs(TypedDict):
    """Args of `GcpVpc`."""

    region: str
    """Where the subnet lies."""
    network: GcpNetwork
    """Its ranges."""


class GcpVpc(pulumi.ComponentResource):
    """One VPC with one subnet. Google spans a subnet over all zones of its region, so there is none per zone.

    Firewall: Google's implied rules let nothing in; GKE adds its own for the control plane, and the region's endpoint
    one for the load balancer. Nodes go out by NAT, which is what fetches images from registries other than Google's.
    Pods reach Google's APIs by names that end in this VPC, at a range small enough for a network policy.
    """

    def __init__(self, name: str, args: GcpVpcArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpVpc", name, {}, opts)
        mine = ResourceOptions(parent=self)
        region, network = args["region"], args["network"]
        self.vpc = gcp.compute.Network(
            name, auto_create_subnetworks=False, routing_mode="REGIONAL", opts=mine
        )
        self.subnet = gcp.compute.Subnetwork(
            name,
            network=self.vpc.id,
            region=region,
            ip_cidr_range=network.nodes,
            secondary_ip_ranges=[
                {"range_name": PODS, "ip_cidr_range": network.pods},
                {"range_name": SERVICES, "ip_cidr_range": network.services},
            ],
            private_ip_google_access=True,
            log_config={
                "aggregation_interval": "INTERVAL_10_MIN",
                "flow_sampling": FLOW_SAMPLING,
                "metadata": "INCLUDE_ALL_METADATA",
            },
            opts=mine,
        )
        self.router = gcp.compute.Router(name, network=self.vpc.id, region=region, opts=mine)
        self.nat = gcp.compute.RouterNat(
            name,
            router=self.router.name,
            region=region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            log_config={"enable": True, "filter": "ERRORS_ONLY"},
            opts=mine,
        )
        self.zone = gcp.dns.ManagedZone(
            f"{name}-google",
            dns_name=GOOGLE_NAMES,
            description="Google's APIs by their private addresses",
            visibility="private",
            private_visibility_config={"networks": [{"network_url": self.vpc.id}]},
            opts=mine,
        )
        self.names = [
            gcp.dns.RecordSet(
                f"{name}-{kind.lower()}",
                managed_zone=self.zone.name,
                name=dns_name,
                type=kind,
                ttl=NAME_SECONDS,
                rrdatas=list(answers),
                opts=mine,
            )
            for kind, dns_name, answers in (
                ("A", PRIVATE_NAME, PRIVATE_ADDRESSES),
                ("CNAME", f"*.{GOOGLE_NAMES}", (PRIVATE_NAME,)),
            )
        ]
        ways_out = (self.nat.id, *(record.id for record in self.names))
        self.usable = Output.all(self.subnet.id, *ways_out).apply(lambda ids: ids[0])
        """Id of the subnet, known when nodes in it find Google's APIs and the way out: without, none becomes ready."""
        self.register_outputs({"network": self.vpc.id, "subnet": self.usable})
