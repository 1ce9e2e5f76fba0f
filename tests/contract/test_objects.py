"""What Kubernetes objects of every stack with clusters keep to."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.k8s import pods
from tests.contract.clusters import STACKS, pods_in, whole
from tests.recorder import Recording
from tests.unit.settings.files import settings_of


@pytest.fixture(params=STACKS, ids=lambda path: path.name)
def recording(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return whole(path)


def test_a_pod_that_is_not_ready_never_blocks_the_drain_of_its_node(recording: Recording) -> None:
    budgets = recording.of(":PodDisruptionBudget")
    assert budgets
    for made in budgets:
        assert made.inputs["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", made.urn


def test_every_pod_names_a_priority_class_that_its_cluster_has(recording: Recording) -> None:
    made = {one.inputs["metadata"]["name"]: one.inputs["value"] for one in recording.of(":PriorityClass")}
    assert made[pods.REQUESTS] > made[pods.WORK] > 0
    running = list(pods_in(recording))
    assert {"gateway", "serving", "publishing"} <= {spec["containers"][0]["name"] for _, spec in running}
    for workload, spec in running:
        wanted = {
            "gateway": pods.REQUESTS,
            "serving": pods.REQUESTS,
            "rendezvous": pods.REQUESTS,
            "cluster-autoscaler": pods.SYSTEM,
        }.get(spec["containers"][0]["name"], pods.WORK)
        assert spec.get("priorityClassName") == wanted, workload.urn


def test_each_cluster_has_its_own_priority_classes_before_anything_in_the_namespace(
    recording: Recording,
) -> None:
    namespaces = [
        one for one in recording.of(":Namespace") if one.inputs["metadata"]["name"] == pods.NAMESPACE
    ]
    for namespace in namespaces:
        classes = [one.urn for one in recording.of(":PriorityClass") if one.provider == namespace.provider]
        assert len(classes) == 2
        assert set(classes) <= set(namespace.dependencies), namespace.urn


def test_the_settings_pull_secrets_reach_every_pod_by_its_service_account(
    request: pytest.FixtureRequest, recording: Recording
) -> None:
    path: Path = request.node.callspec.params["recording"]
    wanted = settings_of(path)["target"].get("image_pull_secrets", [])
    accounts = {
        (one.provider, one.inputs["metadata"]["namespace"], one.inputs["metadata"]["name"]): [
            secret["name"] for secret in one.inputs["imagePullSecrets"]
        ]
        for one in recording.of(":ServiceAccount")
    }
    for workload, spec in pods_in(recording):
        place = (
            workload.provider,
            workload.inputs["metadata"]["namespace"],
            spec["serviceAccountName"],
        )
        assert accounts[place] == wanted, workload.urn


def test_a_container_that_fails_tells_why_in_its_pods_status(recording: Recording) -> None:
    for workload, spec in pods_in(recording):
        for container in spec["containers"]:
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", workload.urn


def test_a_missing_secret_of_keys_does_not_keep_a_pod_from_starting_and_saying_so(
    recording: Recording,
) -> None:
    mounted = [volume for _, spec in pods_in(recording) for volume in spec["volumes"] if "secret" in volume]
    assert all(volume["secret"]["optional"] is True for volume in mounted), mounted


def test_every_container_has_a_memory_limit(recording: Recording) -> None:
    for workload, spec in pods_in(recording):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert "memory" in container["resources"].get("limits", {}), (workload.urn, container["name"])


def test_a_pod_that_names_a_pool_shares_its_node_with_no_other_pod_of_ours(recording: Recording) -> None:
    placed = [spec for _, spec in pods_in(recording) if "nodeSelector" in spec]
    assert placed
    for spec in placed:
        assert spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]


def test_every_container_and_every_folder_on_a_nodes_disk_has_a_limit(recording: Recording) -> None:
    for workload, spec in pods_in(recording):
        limits = [container["resources"]["limits"] for container in spec["containers"]]
        assert all("ephemeral-storage" in limit for limit in limits), workload.urn
        for volume in spec["volumes"]:
            if "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory":
                assert "sizeLimit" in volume["emptyDir"], (workload.urn, volume["name"])


def test_on_a_full_disk_of_a_system_node_no_pod_ends_that_keeps_to_its_limit(recording: Recording) -> None:
    """The kubelet first evicts pods that use more than they request."""
    shared = [(workload, spec) for workload, spec in pods_in(recording) if "nodeSelector" not in spec]
    assert shared
    for workload, spec in shared:
        for container in spec["containers"]:
            asked, most = (
                container["resources"][kind].get("ephemeral-storage") for kind in ("requests", "limits")
            )
            assert asked == most is not None, workload.urn


def test_a_pod_of_a_pool_asks_for_no_disk_or_its_first_node_would_never_be_bought(
    recording: Recording,
) -> None:
    """The autoscaler of AWS takes the nodes of an empty group to have no disk for pods."""
    for workload, spec in pods_in(recording):
        if "nodeSelector" in spec:
            for container in spec["containers"]:
                # Left out, it would be the limit.
                assert container["resources"]["requests"]["ephemeral-storage"] == "0", workload.urn


def test_a_version_is_published_and_copied_on_cpus_without_a_run_where_the_stack_has_some(
    request: pytest.FixtureRequest, recording: Recording
) -> None:
    path: Path = request.node.callspec.params["recording"]
    settings = settings_of(path)
    training = {run["pool"] for run in settings.get("training", [])}
    free = [
        pool["name"]
        for pool in settings["pools"]
        if pool["accelerator"] == "cpu" and pool["name"] not in training
    ]
    named = {model["name"]: model.get("pool") for model in settings["models"]}
    transfers = [
        (workload, spec)
        for workload, spec in pods_in(recording)
        if spec["containers"][0]["name"] == "publishing"
    ]
    assert transfers
    for workload, spec in transfers:
        title: str = workload.inputs["metadata"]["labels"]["app.kubernetes.io/instance"]
        verb, _, model = title.partition("-")
        wanted = (named[model] if verb == "publish" else None) or (free[0] if free else None)
        places = [value for value in spec.get("nodeSelector", {}).values() if value not in ("amd64", "arm64")]
        assert [place.removeprefix("skerry-") for place in places] == ([wanted] if wanted else []), (
            workload.urn
        )
