"""A pod's role: for one service account, on the folders of its grants, and on the keys that S3 uses for them."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

import pulumi_aws as aws
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pulumi import ResourceOptions

from components.aws.identity import AGENT, EGRESS, NOT_PUBLIC, public_ranges, split, statements
from components.aws.policies import document
from components.contracts import Access, Grant
from tests.unit.aws.regions import ACCOUNT, CLUSTER, READER, REGION, STACK, made, named, one, policies, region

NAME = f"{REGION}-assistant-access"
HOT = f"arn:aws:s3:::{STACK}-{REGION}-{ACCOUNT}-hot"
names = some.from_regex(r"[a-z0-9][a-z0-9-]{1,20}", fullmatch=True)


def granted(uri: str, access: Access) -> list[dict[str, Any]]:
    return json.loads(document(*statements(ACCOUNT, uri, access)))["Statement"]


def actions(found: list[dict[str, Any]]) -> set[str]:
    return {action for statement in found for action in statement["Action"]}


@given(names, some.lists(names, max_size=3))
def test_a_uri_is_split_into_bucket_and_folder(bucket: str, folders: list[str]) -> None:
    folder = "/".join(folders)
    for uri in (f"s3://{bucket}/{folder}", f"s3://{bucket}/{folder}/"):
        assert split(uri) == (bucket, folder)


@given(names, names, some.sampled_from(Access))
def test_no_object_beside_the_folder_is_granted(bucket: str, folder: str, access: Access) -> None:
    objects, listing, _ = granted(f"s3://{bucket}/{folder}", access)
    assert objects["Resource"] == [f"arn:aws:s3:::{bucket}/{folder}/*"]
    assert listing["Resource"] == [f"arn:aws:s3:::{bucket}"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": [folder, f"{folder}/*"]}}


def test_a_whole_bucket_is_listed_without_a_prefix() -> None:
    objects, listing, _ = granted("s3://bucket", Access.READ)
    assert objects["Resource"] == ["arn:aws:s3:::bucket/*"] and "Condition" not in listing


def test_to_read_is_to_get_to_list_and_to_decrypt() -> None:
    assert actions(granted("s3://bucket/a", Access.READ)) == {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}


def test_to_write_is_that_and_to_put_to_delete_and_to_encrypt() -> None:
    more = actions(granted("s3://bucket/a", Access.WRITE)) - actions(granted("s3://bucket/a", Access.READ))
    assert more == {
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "kms:GenerateDataKey",
    }


def test_a_key_of_any_region_serves_for_the_granted_folder_by_s3_alone() -> None:
    keys = granted("s3://bucket/a", Access.READ)[2]
    assert keys["Resource"] == [f"arn:aws:kms:*:{ACCOUNT}:key/*"]
    assert keys["Condition"] == {
        "StringLike": {
            "kms:ViaService": "s3.*.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/a/*"],
        }
    }


def test_a_role_holds_all_grants_of_its_account() -> None:
    found = policies()[f"aws:iam/rolePolicy:RolePolicy {NAME} policy"]
    assert [statement["Resource"] for statement in found if "s3:GetObject" in statement["Action"]] == [
        [f"{HOT}/models/assistant/*"],
        [f"{HOT.removesuffix('hot')}warm/*"],
    ]


def test_a_role_trusts_one_service_account_of_one_cluster() -> None:
    (trust,) = policies()[f"aws:iam/role:Role {NAME} assumeRolePolicy"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert trust["Condition"]["StringEquals"] == {
        "aws:RequestTag/eks-cluster-arn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{CLUSTER}",
        "aws:RequestTag/kubernetes-namespace": READER.namespace,
        "aws:RequestTag/kubernetes-service-account": READER.name,
    }


def test_a_role_is_bound_to_the_service_account_and_nothing_is_annotated() -> None:
    bound = one(":PodIdentityAssociation", NAME)
    assert (bound["clusterName"], bound["namespace"], bound["serviceAccount"]) == (
        CLUSTER,
        "skerry",
        "assistant",
    )
    assert bound["roleArn"].startswith(f"arn:aws:iam::{ACCOUNT}:role/")


def test_pods_reach_the_agent_of_their_node() -> None:
    assert [(way.cidr, way.port) for way in EGRESS if way.port == 80] == [(AGENT, 80)]
    assert AGENT == "169.254.170.23/32"


@pytest.mark.parametrize("address", ["52.216.0.1", "3.5.0.1", "16.12.0.1"])
def test_pods_reach_public_addresses_by_tls(address: str) -> None:
    ways = [way for way in EGRESS if IPv4Address(address) in IPv4Network(way.cidr)]
    assert [way.port for way in ways] == [443]


@given(some.sampled_from(NOT_PUBLIC).flatmap(lambda block: some.integers(int(block[0]), int(block[-1]))))
def test_pods_reach_no_private_address_but_the_agent(number: int) -> None:
    address = IPv4Address(number)
    found = [way.cidr for way in EGRESS if address in IPv4Network(way.cidr)]
    assert found == ([AGENT] if str(address) == "169.254.170.23" else [])


@pytest.mark.parametrize("address", ["10.0.0.1", "10.200.0.1", "172.31.0.1", "192.168.1.1", "100.100.0.1"])
def test_no_network_of_ours_is_public(address: str) -> None:
    assert not [cidr for cidr in public_ranges() if IPv4Address(address) in IPv4Network(cidr)]


def test_the_public_ranges_are_all_others_once() -> None:
    found = [IPv4Network(cidr) for cidr in public_ranges()]
    assert not [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]
    assert sum(network.num_addresses for network in [*found, *NOT_PUBLIC]) == 2**32


def test_agents_start_only_when_their_association_is_effective() -> None:
    """Pods of the network and of the autoscaler; others come after a check of their access."""
    delays = {found.name: found for found in region().of("time:index/sleep:Sleep")}
    assert set(delays) == {f"{REGION}-autoscaler", f"{REGION}-cluster-system-network"}
    for name, delay in delays.items():
        (association,) = named(":PodIdentityAssociation", name)
        assert association.urn in delay.dependencies
    (addon,) = named(":Addon", f"{REGION}-cluster-system-vpc-cni")
    (autoscaler,) = named(":Deployment", f"{REGION}-autoscaler")
    assert delays[f"{REGION}-cluster-system-network"].urn in addon.dependencies
    assert delays[f"{REGION}-autoscaler"].urn in autoscaler.dependencies


def test_a_grant_is_known_when_its_association_and_its_policy_exist() -> None:
    def waiter(host: Any) -> None:
        grants = [Grant(host.tiers.hot, Access.READ)]
        aws.ssm.Parameter(
            "waits",
            type="String",
            value=host.access(READER, grants).granted,
            opts=ResourceOptions(parent=host),
        )

    recording = made(waiter)
    (waits,) = named(":Parameter", "waits", recording)
    for kind in (":PodIdentityAssociation", ":RolePolicy"):
        (grant,) = named(kind, NAME, recording)
        assert grant.urn in waits.dependencies
