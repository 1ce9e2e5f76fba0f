"""Node pools: a node group for each rung, from zero to the pool's most."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as some

from components.aws.ladder import LONGEST_LADDER, group_name, priorities
from components.aws.node_pool import CAPACITY_TYPES
from components.aws.nodes import IMAGES, LONGEST_GROUP
from components.catalog.aws import REGIONS
from components.settings.base import NAME_PATTERN
from components.settings.items import Capacity
from tests.unit.aws.regions import REGION, RESERVATION, ZONES, made, one, pool, region

PLACES = {Capacity.RESERVED: 1, Capacity.SPOT: 2, Capacity.ON_DEMAND: 3}
GROUP_ID = "5ac3a0f2-1b7d-4c55-9d0e-0f2d1c3b4a59"


def group(rung: Capacity) -> Any:
    return one(":NodeGroup", f"{REGION}-serve-{PLACES[rung]}-{rung.value}")


def template(rung: Capacity) -> Any:
    return one(":LaunchTemplate", f"{REGION}-serve-{PLACES[rung]}-{rung.value}")


def scaling_group(pool_name: str, place: int, kind: Capacity) -> str:
    """What EKS calls the group of machines of a node group that autonaming has given its end."""
    return f"eks-{group_name(pool_name, place, kind)}-0a1b2c3-{GROUP_ID}"


def priority(name: str) -> int:
    return max(number for number, found in priorities().items() if any(re.search(one, name) for one in found))


@pytest.mark.parametrize("rung", Capacity)
def test_a_rung_scales_from_zero_to_the_pools_most(rung: Capacity) -> None:
    assert group(rung)["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 4}


@pytest.mark.parametrize("rung", Capacity)
def test_a_rungs_nodes_are_machines_of_the_catalog_that_say_pool_and_rung(rung: Capacity) -> None:
    assert group(rung)["instanceTypes"] == ["g6.xlarge"]
    assert group(rung)["amiType"] == "BOTTLEROCKET_x86_64_NVIDIA"
    labels = {"skerry.dev/pool": "serve", "skerry.dev/rung": rung.value}
    assert labels.items() <= group(rung)["labels"].items()


@pytest.mark.parametrize("rung", Capacity)
def test_the_autoscaler_knows_a_node_that_will_have_gpus(rung: Capacity) -> None:
    assert group(rung)["labels"]["k8s.amazonaws.com/accelerator"] == "l4"


def test_a_pool_is_asked_for_in_the_zones_that_offer_its_machine() -> None:
    a100 = pool(name="big", accelerator="a100-80gb", ladder=(Capacity.SPOT,), reservation=None)
    found = one(":NodeGroup", f"{REGION}-big-1-spot", made(lambda host: host.pool(a100) and None))
    assert found["subnetIds"] == [f"{REGION}-network-private-us-east-1b-id"]


def test_each_rung_is_bought_as_it_says() -> None:
    assert {rung.value: group(rung)["capacityType"] for rung in Capacity} == {
        "reserved": "ON_DEMAND",
        "spot": "SPOT",
        "on-demand": "ON_DEMAND",
    }
    reserved = {rung: template(rung).get("capacityReservationSpecification") for rung in Capacity}
    assert reserved == {
        Capacity.RESERVED: {"capacityReservationTarget": {"capacityReservationId": RESERVATION}},
        Capacity.SPOT: None,
        Capacity.ON_DEMAND: {"capacityReservationPreference": "none"},
    }


def test_reserved_nodes_are_asked_for_in_the_zone_of_their_reservation_only() -> None:
    assert {rung.value: group(rung)["subnetIds"] for rung in Capacity} == {
        "reserved": [f"{REGION}-network-private-us-east-1b-id"],
        "spot": [f"{REGION}-network-private-{zone}-id" for zone in ZONES],
        "on-demand": [f"{REGION}-network-private-{zone}-id" for zone in ZONES],
    }


def test_a_region_without_the_zone_of_the_reservation_has_the_other_rungs_under_their_names() -> None:
    def look(host: Any) -> Any:
        return [rung.kind.value for rung in host.pool(pool(reservation_zone="eu-west-2a")).rungs]

    recording = made(look)
    assert list(recording.returned) == ["spot", "on-demand"]
    names = {found.name for found in recording.of(":NodeGroup") if "-serve-" in found.name}
    assert names == {f"{REGION}-serve-2-spot", f"{REGION}-serve-3-on-demand"}


def test_nothing_lands_on_a_pool_that_does_not_name_it() -> None:
    taints = [(taint["key"], taint["value"], taint["effect"]) for taint in group(Capacity.SPOT)["taints"]]
    assert taints == [
        ("skerry.dev/pool", "serve", "NO_SCHEDULE"),
        ("nvidia.com/gpu", "present", "NO_SCHEDULE"),
    ]


def test_a_pool_of_cpus_has_another_image_and_no_taint_of_gpus() -> None:
    cpus = one(":NodeGroup", f"{REGION}-prepare-1-on-demand")
    assert cpus["amiType"] == "BOTTLEROCKET_x86_64" and cpus["instanceTypes"] == ["m7i.2xlarge"]
    assert [taint["key"] for taint in cpus["taints"]] == ["skerry.dev/pool"]
    assert "k8s.amazonaws.com/accelerator" not in cpus["labels"]


def test_an_update_takes_a_node_before_it_adds_one() -> None:
    assert group(Capacity.SPOT)["updateConfig"] == {"maxUnavailable": 1, "updateStrategy": "MINIMAL"}


def test_every_node_hides_its_credentials_from_pods_and_wants_tokens() -> None:
    options = [found.inputs["metadataOptions"] for found in region().of(":LaunchTemplate")]
    assert len(options) == 5
    for found in options:
        assert found["httpTokens"] == "required" and found["httpPutResponseHopLimit"] == 1


def test_every_volume_is_encrypted_by_a_key_of_our_own() -> None:
    for found in region().of(":LaunchTemplate"):
        volumes = found.inputs["blockDeviceMappings"]
        assert [volume["deviceName"] for volume in volumes] == ["/dev/xvda", "/dev/xvdb"]
        assert all(volume["ebs"]["encrypted"] == "true" and volume["ebs"]["kmsKeyId"] for volume in volumes)


def test_machines_and_volumes_carry_the_stacks_labels() -> None:
    for found in region().of(":LaunchTemplate"):
        tags = {one["resourceType"]: one["tags"]["environment"] for one in found.inputs["tagSpecifications"]}
        assert tags == {"instance": "dev", "volume": "dev", "network-interface": "dev"}


def test_the_placement_tolerates_every_taint_and_selects_by_a_label_of_the_nodes() -> None:
    def look(host: Any) -> Any:
        placement = host.pool(pool())
        taints = [(one.key, one.value) for one in placement.tolerations]
        return [taints, dict(placement.node_selector), [one.notice_seconds for one in placement.rungs]]

    taints, selector, notices = made(look).returned
    found = group(Capacity.SPOT)
    assert [tuple(one) for one in taints] == [(one["key"], one["value"]) for one in found["taints"]]
    assert selector.items() <= found["labels"].items()
    assert notices == [None, 120, None]


def test_images_and_capacity_types_are_such_that_eks_knows() -> None:
    model = botocore.session.get_session().get_service_model("eks")
    assert set(IMAGES.values()) <= set(model.shape_for("AMITypes").enum)
    assert set(CAPACITY_TYPES.values()) <= set(model.shape_for("CapacityTypes").enum)


names = some.from_regex(NAME_PATTERN, fullmatch=True)


@given(some.sampled_from(REGIONS), names, some.integers(1, LONGEST_LADDER), some.sampled_from(Capacity))
def test_a_node_groups_name_is_within_what_eks_takes(
    where: str, name: str, place: int, kind: Capacity
) -> None:
    assert len(group_name(f"{where}-{name}", place, kind)) <= LONGEST_GROUP


@given(names, some.permutations(list(Capacity)))
def test_the_autoscaler_climbs_a_ladder_in_its_order(name: str, ladder: list[Capacity]) -> None:
    found = [priority(scaling_group(f"{REGION}-{name}", place, kind)) for place, kind in enumerate(ladder, 1)]
    assert found == sorted(found, reverse=True) and len(set(found)) == len(ladder)


def test_a_pools_name_that_looks_like_a_rung_is_not_taken_for_one() -> None:
    assert priority(scaling_group("us-east-1-a-1-spot-0f", 2, Capacity.ON_DEMAND)) == priority(
        scaling_group("us-east-1-b", 2, Capacity.ON_DEMAND)
    )


def test_what_is_no_rung_comes_last() -> None:
    assert priority(f"eks-us-east-1-cluster-system-0a1b2c3-{GROUP_ID}") == 1
