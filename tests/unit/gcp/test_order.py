"""Who waits for whom: what exists only as an effect of something else is used after it, and is taken down before it."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pulumi import Output, ResourceOptions

from components.contracts import Access, Backend, Grant, ServiceAccount
from components.gcp.host import GcpClusterHost
from tests.recorder import Recording, Registered
from tests.unit.gcp.regions import ENDPOINT, REGION, STORAGE_AGENT, everything, made

DELAYS = {"keys": f"{REGION}-keys", "account": f"{REGION}-nodes"}


@functools.cache
def region() -> Recording:
    """Everything that a region can be asked for."""
    return made(everything)


def before(recording: Recording, late: Registered) -> Iterator[Registered]:
    """Everything that a resource waits for, directly or not, its provider included."""
    waiting, seen = [late.urn], set[str]()
    while waiting:
        found = recording.resources[waiting.pop()]
        for urn in {*found.dependencies, found.provider.rpartition("::")[0]} & set(recording.resources):
            if urn not in seen:
                seen.add(urn)
                waiting.append(urn)
                yield recording.resources[urn]


def waits(recording: Recording, late: Registered, kind: str, name: str | None = None) -> bool:
    return any(found.is_of(kind) and name in (None, found.name) for found in before(recording, late))


def test_a_grant_for_a_service_account_waits_for_the_cluster_whose_identity_pool_it_names() -> None:
    grants = region().of(":BucketIAMMember")
    assert len(grants) == 2
    assert all(waits(region(), grant, ":Cluster") for grant in grants)


def test_cloud_storages_agent_is_looked_up_since_the_look_up_creates_it() -> None:
    grant = region().one(":CryptoKeyIAMMember", f"{REGION}-keys-buckets")
    assert grant.inputs["member"] == f"serviceAccount:{STORAGE_AGENT}"
    (call,) = region().calls
    assert call.token == "gcp:storage/getProjectServiceAccount:getProjectServiceAccount"
    assert "::google::" in call.provider


@pytest.mark.parametrize("delay", DELAYS)
def test_a_change_of_iam_has_two_minutes_to_become_effective(delay: str) -> None:
    assert region().one(":Sleep", DELAYS[delay]).inputs["createDuration"] == "120s"


@pytest.mark.parametrize("kind", [":Cluster", ":NodePool", ":Bucket"])
def test_nothing_is_encrypted_before_the_agents_grant_is_effective(kind: str) -> None:
    for user in region().of(kind):
        assert waits(region(), user, ":Sleep", DELAYS["keys"]), user
        assert waits(region(), user, ":CryptoKeyIAMMember"), user


@pytest.mark.parametrize("kind", [":Cluster", ":NodePool"])
def test_no_node_starts_before_its_account_has_its_roles(kind: str) -> None:
    for user in region().of(kind):
        assert waits(region(), user, ":Sleep", DELAYS["account"]), user
        assert waits(region(), user, ":IAMMember"), user


class Workload(pulumi.ComponentResource):
    """A pod that takes a service account's name from its grants."""

    def __init__(self, host: GcpClusterHost) -> None:
        super().__init__("skerry:index:Workload", "workload", {}, ResourceOptions(providers=[host.provider]))
        granted = host.access(
            ServiceAccount("skerry", "assistant"), [Grant(host.tiers.hot, Access.READ)]
        ).granted
        self.pod = kubernetes.core.v1.Pod(
            "pod", spec={"service_account_name": granted, "containers": []}, opts=ResourceOptions(parent=self)
        )
        self.register_outputs({})


def test_the_name_of_a_granted_account_is_known_when_its_grants_exist() -> None:
    recording = made(lambda host: Workload(host) and None)
    assert waits(recording, recording.one(":Pod"), ":BucketIAMMember")


class Gateway(pulumi.ComponentResource):
    """Pods in a namespace of their own, which a region exposes."""

    def __init__(self, host: GcpClusterHost) -> None:
        super().__init__("skerry:index:Gateway", "gateway", {}, ResourceOptions(providers=[host.provider]))
        mine = ResourceOptions(parent=self)
        namespace = kubernetes.core.v1.Namespace("namespace", metadata={"name": "skerry"}, opts=mine)
        pods = kubernetes.core.v1.Pod(
            "pods",
            metadata={"namespace": namespace.metadata.apply(lambda it: it.name)},
            spec={"containers": []},
            opts=mine,
        )
        standing = Output.all(pods.id).apply(lambda ids: ids[0])
        host.attach(Backend("skerry", {"app": "gateway"}, 10000, standing), ENDPOINT)
        self.register_outputs({})


def test_endpoint_groups_go_before_their_namespace_and_that_before_nodes_cluster_and_network() -> None:
    """The engine deletes in the reverse order: what waits for something is gone before it."""
    recording = made(lambda host: Gateway(host) and None)
    service, namespace = recording.one(":Service"), recording.one(":Namespace")
    assert waits(recording, service, ":Namespace")
    assert waits(recording, namespace, ":NodePool", f"{REGION}-cluster-system")
    assert waits(recording, namespace, ":Cluster")
    assert waits(recording, recording.one(":Cluster"), ":Subnetwork")


@pytest.mark.parametrize("kind", [":Cluster", ":NodePool"])
def test_a_resize_of_nodes_replaces_nothing(kind: str) -> None:
    for made_of_nodes in region().of(kind):
        assert "initialNodeCount" in made_of_nodes.ignore_changes, made_of_nodes
