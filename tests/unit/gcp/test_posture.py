"""What must hold of everything that a region makes, and what must not be there."""

from __future__ import annotations

import functools
import json

import pytest

from components.gcp.identity import ROLES as ACCESS_ROLES
from components.gcp.keys import ROLE as KEY_ROLE
from components.gcp.nodes import ROLES as NODE_ROLES
from tests.recorder import Recording, Registered
from tests.unit.gcp.regions import LABELS, PROJECT, REGION, everything, made

PUBLIC = ("0.0.0.0/0", "::/0", "allUsers", "allAuthenticatedUsers", "system:anonymous")


@functools.cache
def region() -> Recording:
    """Everything that a region can be asked for."""
    return made(everything)


def of_cloud(recording: Recording) -> list[Registered]:
    return [found for found in recording.resources.values() if found.custom and not found.is_provider]


def test_no_resource_uses_a_default_provider() -> None:
    assert [found.urn for found in of_cloud(region()) if not found.provider] == []


def test_google_resources_use_the_regions_provider_and_objects_the_clusters() -> None:
    for found in of_cloud(region()):
        package = found.kind.partition(":")[0]
        provider = {"gcp": "google", "time": "delays", "kubernetes": f"{REGION}-cluster"}[package]
        assert f"::{provider}::" in found.provider, found.urn


def test_the_provider_knows_project_region_and_labels() -> None:
    (provider,) = region().of("providers:gcp")
    assert (provider.inputs["project"], provider.inputs["region"]) == (PROJECT, REGION)
    assert json.loads(provider.inputs["defaultLabels"]) == LABELS


@pytest.mark.parametrize("word", PUBLIC)
def test_nothing_is_open_to_everybody(word: str) -> None:
    assert [found.urn for found in of_cloud(region()) if word in json.dumps(found.inputs)] == []


def test_no_node_has_a_disk_without_a_key_of_our_own() -> None:
    pools = region().of(":NodePool")
    assert {pool.inputs["nodeConfig"].get("bootDiskKmsKey") for pool in pools} == {f"{REGION}-keys-disks-id"}


def test_every_node_is_shielded_and_hides_its_account_from_pods() -> None:
    for pool in region().of(":NodePool"):
        config = pool.inputs["nodeConfig"]
        assert config["shieldedInstanceConfig"] == {
            "enableSecureBoot": True,
            "enableIntegrityMonitoring": True,
        }
        assert config["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
        assert config["metadata"] == {"disable-legacy-endpoints": "true"}
        assert config["kubeletConfig"]["insecureKubeletReadonlyPortEnabled"] == "FALSE"


def test_every_node_has_the_network_interface_that_fast_networks_need() -> None:
    assert all(pool.inputs["nodeConfig"]["gvnic"] == {"enabled": True} for pool in region().of(":NodePool"))


def test_every_node_runs_as_the_account_with_few_rights() -> None:
    accounts = {pool.inputs["nodeConfig"].get("serviceAccount") for pool in region().of(":NodePool")}
    assert accounts == {f"nodes@{PROJECT}.iam.gserviceaccount.com"}


def test_no_bucket_is_without_a_key_or_open_to_acls() -> None:
    for bucket in region().of(":Bucket"):
        assert bucket.inputs["encryption"]["defaultKmsKeyName"]
        assert (
            bucket.inputs["uniformBucketLevelAccess"]
            and bucket.inputs["publicAccessPrevention"] == "enforced"
        )


def test_only_the_roles_of_the_tables_are_granted() -> None:
    roles = {found.inputs["role"] for found in of_cloud(region()) if "role" in found.inputs}
    assert roles == {KEY_ROLE, *NODE_ROLES.values(), *ACCESS_ROLES.values()}


def test_every_grant_on_a_bucket_is_bound_to_a_folder_by_a_condition() -> None:
    grants = region().of(":BucketIAMMember")
    assert grants and all(grant.inputs["condition"]["expression"] for grant in grants)


def test_no_service_is_open_outside_the_cluster() -> None:
    assert {service.inputs["spec"]["type"] for service in region().of(":Service")} == {"ClusterIP"}


def test_every_component_registers_its_outputs() -> None:
    components = [found for found in region().resources.values() if not found.custom]
    assert [found.urn for found in components if found.outputs is None] == []
