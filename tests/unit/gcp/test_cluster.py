"""The cluster of a region, its nodes' account and its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pulumi import Output

from components.gcp.cluster import kubeconfig
from components.gcp.ranges import SYSTEM_NODES_PER_ZONE
from components.gcp.versions import END_OF_SUPPORT, MINIMUM, READ
from tests.unit.gcp.regions import ACCOUNT_EMAIL, DNS_NAME, NUMBER, PROJECT, REGION, ZONES, made, one

NAME = f"{REGION}-cluster"
AGENTS = {
    "secrets": f"serviceAccount:service-{NUMBER}@container-engine-robot.iam.gserviceaccount.com",
    "disks": f"serviceAccount:service-{NUMBER}@compute-system.iam.gserviceaccount.com",
    "buckets": f"serviceAccount:service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
}


def cluster() -> Mapping[str, Any]:
    return one(made(), "Cluster")


def test_a_cluster_is_regional_with_nodes_in_the_zones_of_the_settings() -> None:
    assert (cluster()["location"], cluster()["nodeLocations"]) == (REGION, list(ZONES))


def test_the_control_plane_has_no_address() -> None:
    endpoints = cluster()["controlPlaneEndpointsConfig"]
    assert endpoints["ipEndpointsConfig"] == {"enabled": False}
    assert endpoints["dnsEndpointConfig"]["allowExternalTraffic"] is True
    assert "masterAuthorizedNetworksConfig" not in cluster()


def test_nodes_have_no_public_addresses() -> None:
    assert cluster()["privateClusterConfig"]["enablePrivateNodes"] is True


def test_pods_have_identities_and_network_policies() -> None:
    assert cluster()["workloadIdentityConfig"] == {"workloadPool": f"{PROJECT}.svc.id.goog"}
    assert cluster()["datapathProvider"] == "ADVANCED_DATAPATH"


def test_endpoint_groups_are_made_and_names_are_looked_up_where_the_network_policies_allow_it() -> None:
    addons = {name: dict(setting) for name, setting in cluster()["addonsConfig"].items()}
    assert addons == {"httpLoadBalancing": {"disabled": False}, "dnsCacheConfig": {"enabled": False}}


def test_secrets_are_encrypted_by_a_key_of_our_own() -> None:
    encryption = cluster()["databaseEncryption"]
    assert encryption == {"state": "ENCRYPTED", "keyName": f"{REGION}-keys-secrets-id"}


def test_nobody_gets_in_by_the_old_ways() -> None:
    made_so = cluster()
    assert made_so["enableLegacyAbac"] is False
    assert made_so["masterAuth"]["clientCertificateConfig"] == {"issueClientCertificate": False}
    assert made_so["anonymousAuthenticationConfig"] == {"mode": "LIMITED"}
    assert set(made_so["rbacBindingConfig"].values()) == {False}


def test_clusters_of_two_days_start_at_one_minor_version_and_follow_one_channel() -> None:
    assert cluster()["releaseChannel"] == {"channel": "REGULAR"}
    assert cluster()["minMasterVersion"] == MINIMUM
    assert "nodeVersion" not in cluster()
    assert not any("version" in pool.inputs for pool in made().of(":NodePool"))


def test_the_version_at_which_clusters_start_was_supported_when_the_table_was_read() -> None:
    assert END_OF_SUPPORT[MINIMUM] > READ
    assert sorted(END_OF_SUPPORT.items()) == sorted(END_OF_SUPPORT.items(), key=lambda row: row[1])


def test_metrics_are_collected_for_prometheus_and_logs_of_workloads_kept() -> None:
    assert cluster()["monitoringConfig"]["managedPrometheus"] == {"enabled": True}
    assert "WORKLOADS" in cluster()["loggingConfig"]["enableComponents"]


def test_a_cluster_can_be_taken_down_for_what_is_kept_lies_in_buckets() -> None:
    assert cluster()["deletionProtection"] is False


def test_the_first_pool_is_removed_and_never_runs_as_the_projects_default_account() -> None:
    assert cluster()["removeDefaultNodePool"] is True
    assert cluster()["nodeConfig"]["serviceAccount"] == ACCOUNT_EMAIL


def test_the_system_has_a_node_in_every_zone() -> None:
    system = one(made(), "NodePool", f"{NAME}-system")
    assert system["nodeLocations"] == list(ZONES)
    assert system["autoscaling"] == {"minNodeCount": 1, "maxNodeCount": SYSTEM_NODES_PER_ZONE}


def test_nodes_may_write_logs_and_metrics_and_pull_images_and_nothing_else() -> None:
    grants = made().of(":IAMMember")
    assert {grant.inputs["role"] for grant in grants} == {
        "roles/container.defaultNodeServiceAccount",
        "roles/artifactregistry.reader",
    }
    assert {grant.inputs["member"] for grant in grants} == {f"serviceAccount:{ACCOUNT_EMAIL}"}


@pytest.mark.parametrize("use", AGENTS)
def test_a_key_turns_and_only_the_agent_that_encrypts_may_use_it(use: str) -> None:
    recording = made()
    assert one(recording, "CryptoKey", f"{REGION}-keys-{use}")["rotationPeriod"] == "7776000s"
    grants = [grant for grant in recording.of(":CryptoKeyIAMMember") if use in grant.inputs["cryptoKeyId"]]
    assert [(grant.inputs["member"], grant.inputs["role"]) for grant in grants] == [
        (AGENTS[use], "roles/cloudkms.cryptoKeyEncrypterDecrypter")
    ]


def test_keys_lie_in_the_region_of_their_data() -> None:
    assert one(made(), "KeyRing")["location"] == REGION


def test_the_kubeconfig_names_the_dns_endpoint_and_holds_no_credential() -> None:
    told = json.loads(kubeconfig(DNS_NAME))
    assert told["clusters"][0]["cluster"] == {"server": f"https://{DNS_NAME}"}
    assert set(told["users"][0]["user"]) == {"exec"}
    assert told["users"][0]["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"


def test_the_provider_of_the_cluster_reaches_it_by_its_dns_name() -> None:
    (provider,) = (found for found in made().of("providers:kubernetes"))
    assert DNS_NAME in str(provider.inputs["kubeconfig"])


def test_the_kubeconfig_leaves_as_a_secret() -> None:
    assert made(lambda host: Output.from_input(host.cluster.kubeconfig.is_secret())).returned is True


def test_the_account_of_nodes_has_an_id_that_google_takes() -> None:
    account = one(made(), "Account")["accountId"]
    assert 6 <= len(account) <= 30
