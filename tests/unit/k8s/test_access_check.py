"""A region waits until the grants of its workloads were seen to work."""

from __future__ import annotations

import functools

import pytest

from components.k8s.access_check import DEADLINE_SECONDS, TRIES
from components.k8s.pods import NO_AWAIT
from tests.recorder import Recording, Registered
from tests.unit.k8s.host import IMAGES, main_of, named, template_of, whole_region

WORKLOADS = {
    "train-coder": ":Job",
    "publish-coder": ":Job",
    "publish-given": ":Job",
    "serve-coder": ":Deployment",
}


@functools.cache
def region() -> Recording:
    return whole_region()


def check(account: str) -> Registered:
    return named(region(), ":Job", f"access-{account}")


@pytest.mark.parametrize("account", WORKLOADS)
def test_no_pod_of_an_account_starts_before_its_grants_were_seen_to_work(account: str) -> None:
    workload = named(region(), WORKLOADS[account], account)
    assert check(account).urn in workload.dependencies
    assert template_of(check(account))["serviceAccountName"] == template_of(workload)["serviceAccountName"]


@pytest.mark.parametrize("account", WORKLOADS)
def test_a_check_runs_the_image_that_its_workload_has(account: str) -> None:
    image = IMAGES["training" if account.startswith("train-") else "serving"]
    assert main_of(check(account))["image"] == image


def test_a_check_uses_every_folder_in_the_way_that_is_granted() -> None:
    words = main_of(check("publish-coder"))["command"]
    written, read = "memory://here-hot/models/coder", "memory://here-warm/training/coder"
    assert words[:3] == ["python", "-m", "workloads.check_access"]
    assert words[3:5] == ["--write", written] and words[5] == "--read" and words[6].startswith(read)


def test_up_waits_for_a_check_whose_every_try_is_a_new_pod_and_makes_a_failed_one_again() -> None:
    for account in WORKLOADS:
        made = check(account)
        annotations = made.inputs["metadata"]["annotations"]
        assert not NO_AWAIT.keys() & annotations.keys()
        assert annotations["pulumi.com/replaceUnready"] == "true"
        spec = made.inputs["spec"]
        assert template_of(made)["restartPolicy"] == "Never"
        # Pods fail at once at first, and then every six minutes: the deadline ends the tries, not their number.
        assert spec["backoffLimit"] == TRIES and spec["activeDeadlineSeconds"] == DEADLINE_SECONDS
        assert sum(min(10 * 2**tried, 360) for tried in range(TRIES)) > DEADLINE_SECONDS
        assert "ttlSecondsAfterFinished" not in spec


def test_a_check_reaches_the_tiers_and_credentials_and_nothing_else() -> None:
    (policy,) = [
        made.inputs["spec"]
        for made in region().of(":NetworkPolicy")
        if made.inputs["metadata"]["name"] == "access-serve-coder"
    ]
    labels = check("serve-coder").inputs["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Egress"] and len(policy["egress"]) == 1
