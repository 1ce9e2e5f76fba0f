"""The network of a region."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from components.gcp.network import PRIVATE_ADDRESSES, PRIVATE_RANGE
from tests.unit.gcp.regions import NETWORK, REGION, made, one

NAME = f"{REGION}-network"


def test_a_vpc_has_only_the_subnets_that_are_declared() -> None:
    assert one(made(), "Network")["autoCreateSubnetworks"] is False


def test_the_subnet_has_the_ranges_of_the_settings() -> None:
    subnet = one(made(), "Subnetwork")
    assert subnet["region"] == REGION
    assert subnet["ipCidrRange"] == NETWORK.nodes
    assert {
        secondary["rangeName"]: secondary["ipCidrRange"] for secondary in subnet["secondaryIpRanges"]
    } == {
        "pods": NETWORK.pods,
        "services": NETWORK.services,
    }


def test_the_subnet_reaches_google_privately_and_logs_its_flows() -> None:
    subnet = one(made(), "Subnetwork")
    assert subnet["privateIpGoogleAccess"] is True
    assert subnet["logConfig"]["metadata"] == "INCLUDE_ALL_METADATA"


def test_nodes_go_out_by_nat_alone() -> None:
    recording = made()
    nat = one(recording, "RouterNat")
    assert (nat["natIpAllocateOption"], nat["region"]) == ("AUTO_ONLY", REGION)
    assert nat["sourceSubnetworkIpRangesToNat"] == "ALL_SUBNETWORKS_ALL_IP_RANGES"
    assert recording.of(":Address") == []


def test_names_of_googles_apis_lead_to_their_private_addresses() -> None:
    recording = made()
    zone = one(recording, "ManagedZone")
    assert (zone["dnsName"], zone["visibility"]) == ("googleapis.com.", "private")
    records = {record.inputs["name"]: record.inputs for record in recording.of(":RecordSet")}
    assert records["*.googleapis.com."]["rrdatas"] == ["private.googleapis.com."]
    assert records["private.googleapis.com."]["rrdatas"] == list(PRIVATE_ADDRESSES)


def test_the_private_addresses_are_the_private_range() -> None:
    assert [IPv4Address(address) for address in PRIVATE_ADDRESSES] == list(IPv4Network(PRIVATE_RANGE))


def test_a_region_lets_nothing_in_before_it_has_an_endpoint() -> None:
    assert made().of(":Firewall") == []
