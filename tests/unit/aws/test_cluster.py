"""The control plane, the add-ons, and the system nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.aws.cluster import ADMIN_POLICY, called, kubeconfig
from components.aws.system import machine_in
from components.catalog.aws import REGIONS
from tests.unit.aws.regions import (
    ACCOUNT,
    ADMINISTRATOR,
    CLUSTER,
    NETWORK,
    REGION,
    ZONES,
    made,
    named,
    one,
    policies,
    region,
)
from tests.unit.catalog.test_aws import OFFERINGS

NAME = f"{REGION}-cluster"


def cluster() -> Any:
    return one("eks/cluster:Cluster", NAME)


def test_the_control_plane_answers_inside_the_vpc_only() -> None:
    assert cluster()["vpcConfig"]["endpointPrivateAccess"] is True
    assert cluster()["vpcConfig"]["endpointPublicAccess"] is False


def test_secrets_are_encrypted_by_a_key_of_our_own() -> None:
    encryption = cluster()["encryptionConfig"]
    assert encryption["resources"] == ["secrets"]
    assert encryption["provider"]["keyArn"].startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")


def test_all_logs_of_the_control_plane_go_to_a_group_that_is_there_before() -> None:
    assert len(cluster()["enabledClusterLogTypes"]) == 5
    assert one(":LogGroup", NAME)["name"] == f"/aws/eks/{CLUSTER}/cluster"


def test_every_log_group_is_encrypted_and_ends() -> None:
    groups = [found.inputs for found in region().of(":LogGroup")]
    assert len(groups) == 2
    assert all(group["kmsKeyId"] and group["retentionInDays"] == 90 for group in groups)


def test_roles_are_mapped_by_eks_and_the_creator_gets_none() -> None:
    access = cluster()["accessConfig"]
    assert access == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}


def test_an_administrator_has_an_entry_and_the_policy_for_the_whole_cluster() -> None:
    name = f"{NAME}-teams-platform"
    assert one(":AccessEntry", name)["principalArn"] == ADMINISTRATOR
    policy = one(":AccessPolicyAssociation", name)
    assert policy["policyArn"] == ADMIN_POLICY and policy["accessScope"] == {"type": "cluster"}


def test_operators_reach_the_api_server_by_tls_and_nobody_else_does() -> None:
    (rule,) = named(":SecurityGroupIngressRule", f"{NAME}-from-10.64.0.0-24")
    assert rule.inputs["cidrIpv4"] == "10.64.0.0/24"
    assert (rule.inputs["fromPort"], rule.inputs["toPort"]) == (443, 443)


def test_no_version_is_paid_for_beyond_its_standard_support() -> None:
    assert cluster()["upgradePolicy"] == {"supportType": "STANDARD"}


def test_the_kubeconfig_asks_the_cli_for_a_token_and_holds_none() -> None:
    found = json.loads(kubeconfig("eu-west-1", "name", "https://api.example.com", "Y2E="))
    (user,) = found["users"]
    assert user["user"]["exec"]["args"] == [
        "eks", "get-token", "--cluster-name", "name", "--region", "eu-west-1", "--output", "json",
    ]  # fmt: skip
    assert found["clusters"][0]["cluster"] == {
        "server": "https://api.example.com",
        "certificate-authority-data": "Y2E=",
    }
    assert found["current-context"] == found["contexts"][0]["name"]


def test_the_kubeconfig_is_a_secret() -> None:
    (provider,) = region().of("providers:kubernetes")
    assert "kubeconfig" in provider.secret_inputs


def test_the_network_addon_enforces_network_policies() -> None:
    settings = one(":Addon", f"{NAME}-system-vpc-cni")["configurationValues"]
    assert json.loads(settings) == {"enableNetworkPolicy": "true"}


def test_all_addons_are_made_here_and_eks_makes_none() -> None:
    assert cluster()["bootstrapSelfManagedAddons"] is False
    assert {found.inputs["addonName"] for found in region().of(":Addon")} == {
        "vpc-cni",
        "kube-proxy",
        "eks-pod-identity-agent",
        "coredns",
        "metrics-server",
    }


def test_there_is_a_system_node_in_each_zone_on_demand() -> None:
    group = one(":NodeGroup", f"{NAME}-system")
    assert group["scalingConfig"] == {"minSize": len(ZONES), "desiredSize": len(ZONES), "maxSize": 4}
    assert group["capacityType"] == "ON_DEMAND" and group["amiType"] == "BOTTLEROCKET_x86_64"
    assert "taints" not in group


@pytest.mark.parametrize("where", REGIONS)
def test_the_system_nodes_machine_exists_in_every_region(where: str) -> None:
    assert machine_in(where) in OFFERINGS[where]


def test_a_node_may_join_and_pull_images_and_addresses_are_the_network_addons_right() -> None:
    attached = {
        found.name: found.inputs["policyArn"].rpartition("/")[2]
        for found in region().of(":RolePolicyAttachment")
    }
    assert attached == {
        NAME: "AmazonEKSClusterPolicy",
        f"{NAME}-system-AmazonEKSWorkerNodePolicy": "AmazonEKSWorkerNodePolicy",
        f"{NAME}-system-AmazonEC2ContainerRegistryPullOnly": "AmazonEC2ContainerRegistryPullOnly",
        f"{NAME}-system-network": "AmazonEKS_CNI_Policy",
    }
    (trust,) = policies()[f"aws:iam/role:Role {NAME}-system-network assumeRolePolicy"]
    tags = trust["Condition"]["StringEquals"]
    assert tags["aws:RequestTag/kubernetes-service-account"] == "aws-node"


def test_the_endpoint_is_public_for_named_ranges_only() -> None:
    assert "publicAccessCidrs" not in one("eks/cluster:Cluster", NAME)["vpcConfig"]
    opened = NETWORK.model_copy(update={"public_access": ("203.0.113.0/28",)})
    vpc = one("eks/cluster:Cluster", NAME, made(network=opened))["vpcConfig"]
    assert vpc["endpointPublicAccess"] is True and vpc["endpointPrivateAccess"] is True
    assert vpc["publicAccessCidrs"] == ["203.0.113.0/28"]


def test_a_region_that_is_made_again_has_another_cluster_and_log_group() -> None:
    """The log group of the first one may have been made again by EKS."""
    first, again = (called("dev-us-east-1", vpc) for vpc in ("vpc-0123456789abcdef0", "vpc-0fedcba"))
    assert first == "dev-us-east-1-9abcdef0" and again != first
    assert one(":LogGroup", NAME)["name"] == f"/aws/eks/{cluster()['name']}/cluster"


@pytest.mark.parametrize("kind", ["eks/cluster:Cluster", ":LogGroup"])
def test_a_cluster_that_stands_keeps_its_name(kind: str) -> None:
    (found,) = named(kind, NAME)
    assert found.ignore_changes == ("name",)


def test_control_plane_and_nodes_have_the_version_that_is_pinned() -> None:
    groups = region().of(":NodeGroup")
    assert {found.inputs["version"] for found in groups} == {cluster()["version"]} == {"1.35"}
