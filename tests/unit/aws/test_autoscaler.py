"""The cluster autoscaler: it finds the cluster's groups, orders them, and may touch no other."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from components.aws.ladder import priorities
from tests.unit.aws.regions import ACCOUNT, CLUSTER, IMAGE, REGION, one, policies, region

NAME = f"{REGION}-autoscaler"


def pod() -> Any:
    return one(":Deployment", NAME)["spec"]["template"]["spec"]


def rights() -> list[dict[str, Any]]:
    return policies()[f"aws:iam/rolePolicy:RolePolicy {NAME} policy"]


def test_it_changes_the_size_of_groups_that_eks_tagged_as_the_clusters() -> None:
    (scaling,) = [found for found in rights() if "autoscaling:SetDesiredCapacity" in found["Action"]]
    assert scaling["Condition"] == {
        "StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{CLUSTER}": "owned"}
    }


def test_what_it_may_do_to_everything_is_to_look() -> None:
    (everything,) = [found for found in rights() if found["Resource"] == ["*"]]
    verbs = {action.partition(":")[2] for action in everything["Action"]}
    assert all(verb.startswith(("Describe", "Get")) for verb in verbs)


def test_it_learns_labels_and_taints_of_groups_without_nodes() -> None:
    (describe,) = [found for found in rights() if found["Action"] == ["eks:DescribeNodegroup"]]
    assert describe["Resource"] == [f"arn:aws:eks:{REGION}:{ACCOUNT}:nodegroup/{CLUSTER}/*"]


def test_it_finds_groups_by_the_tags_of_the_cluster() -> None:
    (main,) = pod()["containers"]
    tags = f"k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/{CLUSTER}"
    assert f"--node-group-auto-discovery=asg:tag={tags}" in main["command"]
    assert main["image"] == IMAGE


def test_nodes_go_away_also_where_a_pod_has_a_scratch_folder() -> None:
    assert "--skip-nodes-with-local-storage=false" in pod()["containers"][0]["command"]


def test_it_takes_rungs_by_the_priorities_of_the_ladder() -> None:
    assert "--expander=priority,least-waste" in pod()["containers"][0]["command"]
    table = one(":ConfigMap", NAME)
    assert table["metadata"] == {"name": "cluster-autoscaler-priority-expander", "namespace": "kube-system"}
    assert yaml.safe_load(table["data"]["priorities"]) == priorities()


def test_it_runs_without_any_right_on_its_node() -> None:
    (main,) = pod()["containers"]
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"] is True


def test_it_alone_holds_a_token_of_the_api_server() -> None:
    assert pod()["automountServiceAccountToken"] is True


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_its_rights_are_bound_to_the_account_that_it_runs_as(kind: str) -> None:
    (binding,) = (
        made.inputs for made in region().of(f"{kind}Binding") if made.inputs["roleRef"]["kind"] == kind
    )
    account = {"kind": "ServiceAccount", "name": pod()["serviceAccountName"], "namespace": "kube-system"}
    assert binding["subjects"] == [account]


def test_it_reads_no_secret_and_makes_nothing_but_events_and_its_lease() -> None:
    rules = one(":ClusterRole", NAME)["rules"]
    assert not [rule for rule in rules if "secrets" in rule["resources"] or "*" in rule["resources"]]
    created = {name for rule in rules if "create" in rule["verbs"] for name in rule["resources"]}
    assert created == {"events", "endpoints", "pods/eviction", "leases"}


def test_there_is_no_aws_auth() -> None:
    assert {found.inputs["metadata"]["name"] for found in region().of(":ConfigMap")} == {
        "cluster-autoscaler-priority-expander"
    }
