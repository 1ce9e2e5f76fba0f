"""Node pools: a rung each, and the class that orders them."""

from __future__ import annotations

from typing import Any

import pytest

from components.contracts import Placement
from components.gcp.host import GcpClusterHost
from components.gcp.node_pool import CLASS_LABEL, RUNG_LABEL
from components.settings.items import Capacity
from tests.contract.programs import assembled
from tests.contract.targets import TARGETS
from tests.recorder import Recording
from tests.unit.gcp.regions import REGION, ZONES, made, one, pool

CHIPS = {
    "name": "chips",
    "accelerator": "tpu-v5e",
    "ladder": (Capacity.SPOT,),
    "reservation": None,
    "topology": "2x2",
}


def laddered(**changes: Any) -> Recording:
    """A region with one pool."""

    def ask(host: GcpClusterHost) -> None:
        host.pool(pool(**changes))

    return made(ask)


def pools(**changes: Any) -> dict[str, Any]:
    """Inputs of a pool's node pools, by rung."""
    recording = made(lambda host: host.pool(pool(**changes)) and None)
    found = {
        node_pool.inputs["nodeConfig"]["labels"].get(RUNG_LABEL): node_pool.inputs
        for node_pool in recording.of(":NodePool")
    }
    return {rung: inputs for rung, inputs in found.items() if rung}


def placement(**changes: Any) -> Placement:
    seen: list[Placement] = []
    made(lambda host: seen.append(host.pool(pool(**changes))))
    return seen[0]


def test_each_rung_is_a_node_pool() -> None:
    assert set(pools()) == {"reserved", "spot", "on-demand"}


def test_the_node_pools_are_public_by_rung() -> None:
    seen: list[Any] = []

    def ask(host: GcpClusterHost) -> None:
        host.pool(pool())
        seen.extend(host.pools["serve"].node_pools)

    made(ask)
    assert seen == [Capacity.RESERVED, Capacity.SPOT, Capacity.ON_DEMAND]


@pytest.mark.parametrize("rung", ["reserved", "spot", "on-demand"])
def test_a_rung_scales_from_nothing_to_the_pools_most(rung: str) -> None:
    node_pool = pools()[rung]
    assert node_pool["initialNodeCount"] == 0
    assert node_pool["autoscaling"] == {
        "totalMinNodeCount": 0,
        "totalMaxNodeCount": 4,
        "locationPolicy": "ANY",
    }


def test_reserved_nodes_draw_on_the_reservation_by_its_name() -> None:
    affinity = pools()["reserved"]["nodeConfig"]["reservationAffinity"]
    assert affinity == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["l4-in-a"],
    }


def test_reserved_nodes_lie_in_the_zone_of_their_reservation_alone() -> None:
    zones = {rung: inputs["nodeLocations"] for rung, inputs in pools().items()}
    assert zones == {"reserved": [ZONES[0]], "spot": list(ZONES), "on-demand": list(ZONES)}


def test_a_region_without_the_reservations_zone_has_the_other_rungs_alone() -> None:
    elsewhere = {"reservation_zone": "europe-west4-a"}
    assert set(pools(**elsewhere)) == {"spot", "on-demand"}
    assert [rung.kind for rung in placement(**elsewhere).rungs] == [Capacity.SPOT, Capacity.ON_DEMAND]


def test_nodes_lie_in_the_listed_zones_of_their_machine_type() -> None:
    assert pools(accelerator="h200-141gb", ladder=(Capacity.SPOT,))["spot"]["nodeLocations"] == [ZONES[1]]


@pytest.mark.parametrize(
    ("accelerator", "disk"),
    [("l4", "pd-balanced"), ("h200-141gb", "hyperdisk-balanced"), ("b200", "hyperdisk-balanced")],
)
def test_a_node_boots_from_a_disk_that_its_machine_type_takes(accelerator: str, disk: str) -> None:
    config = pools(accelerator=accelerator, ladder=(Capacity.SPOT,))["spot"]["nodeConfig"]
    assert (config["diskType"], config["diskSizeGb"]) == (disk, 200)


def test_spot_nodes_alone_are_spot() -> None:
    assert {rung: made_so["nodeConfig"].get("spot") for rung, made_so in pools().items()} == {
        "reserved": None,
        "spot": True,
        "on-demand": None,
    }


def test_nodes_on_demand_take_nothing_from_a_reservation() -> None:
    affinity = pools()["on-demand"]["nodeConfig"]["reservationAffinity"]
    assert affinity == {"consumeReservationType": "NO_RESERVATION"}


def test_a_workload_gets_most_of_the_notice_of_a_spot_node() -> None:
    kubelet = pools()["spot"]["nodeConfig"]["kubeletConfig"]
    assert (
        kubelet["shutdownGracePeriodSeconds"],
        kubelet["shutdownGracePeriodCriticalPodsSeconds"],
    ) == (30, 5)


def test_a_gpu_comes_with_its_driver() -> None:
    config = pools()["spot"]["nodeConfig"]
    assert config["machineType"] == "g2-standard-4"
    assert config["guestAccelerators"] == [
        {
            "type": "nvidia-l4",
            "count": 1,
            "gpuDriverInstallationConfig": {"gpuDriverVersion": "DEFAULT"},
        }
    ]


def test_nodes_without_gpus_ask_for_none() -> None:
    assert "guestAccelerators" not in pools(accelerator="cpu")["spot"]["nodeConfig"]


def test_the_class_tries_the_rungs_in_the_order_of_the_ladder() -> None:
    spec = one(laddered(), "ComputeClass")["spec"]
    assert spec["priorities"] == [
        {"nodepools": [f"pool-{rung}"]} for rung in ("reserved", "spot", "on-demand")
    ]


def test_the_class_makes_no_nodes_of_its_own_and_moves_no_running_pod() -> None:
    spec = one(laddered(), "ComputeClass")["spec"]
    assert spec["nodePoolAutoCreation"] == {"enabled": False}
    assert spec["whenUnsatisfiable"] == "DoNotScaleUp"
    assert spec["activeMigration"] == {"optimizeRulePriority": False}


def test_the_class_is_made_by_the_provider_of_the_cluster() -> None:
    (made_class,) = laddered().of(":ComputeClass")
    assert f"kubernetes::{REGION}-cluster" in made_class.provider


def test_pods_are_bound_to_the_class_and_kept_off_by_its_taint() -> None:
    where = placement()
    (taint,) = pools()["spot"]["nodeConfig"]["taints"]
    assert where.node_selector == {CLASS_LABEL: "skerry-serve"}
    assert (taint["key"], taint["value"], taint["effect"]) == (CLASS_LABEL, "skerry-serve", "NO_SCHEDULE")
    assert [(toleration.key, toleration.value) for toleration in where.tolerations] == [
        (CLASS_LABEL, "skerry-serve"),
        ("nvidia.com/gpu", "present"),
    ]


def test_a_placement_counts_a_whole_nodes_accelerators() -> None:
    assert placement(accelerator="h100-80gb").resources == {"nvidia.com/gpu": 8}
    assert placement(accelerator="cpu").resources == {}
    assert placement(**CHIPS).resources == {"google.com/tpu": 4}


def test_the_rungs_of_a_placement_select_their_nodes_and_no_others() -> None:
    labels = {rung: made_so["nodeConfig"]["labels"] for rung, made_so in pools().items()}
    assert {rung.kind.value: dict(rung.selector) for rung in placement().rungs} == labels
    assert len({tuple(sorted(one_rung.items())) for one_rung in labels.values()}) == 3


def test_only_spot_nodes_are_taken_away_with_a_notice() -> None:
    assert {rung.kind: rung.notice_seconds for rung in placement().rungs} == {
        Capacity.RESERVED: None,
        Capacity.SPOT: 25,
        Capacity.ON_DEMAND: None,
    }


def test_pods_with_tpus_select_by_type_and_topology() -> None:
    where = placement(**CHIPS)
    assert where.node_selector == {
        CLASS_LABEL: "skerry-chips",
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "2x2",
    }
    assert ("google.com/tpu", "present") in [(item.key, item.value) for item in where.tolerations]


def test_slices_of_one_node_lie_in_the_zones_that_offer_them() -> None:
    node_pool = pools(**CHIPS)["spot"]
    assert node_pool["nodeLocations"] == list(ZONES[1:])
    assert "placementPolicy" not in node_pool


def test_a_slice_over_several_nodes_lies_together_in_one_zone() -> None:
    node_pool = pools(**{**CHIPS, "topology": "4x4", "max_nodes": 4})["spot"]
    assert node_pool["placementPolicy"] == {"type": "COMPACT", "tpuTopology": "4x4"}
    assert node_pool["nodeLocations"] == [ZONES[1]]
    assert node_pool["autoscaling"]["totalMaxNodeCount"] == 4


def test_a_long_name_leaves_room_for_gkes_forty_characters() -> None:
    node_pools = laddered(name="a" * 40).of(":NodePool")
    assert max(len(node_pool.name) for node_pool in node_pools) <= 32


def test_nodes_on_which_a_run_trains_are_not_upgraded_before_the_end_of_support() -> None:
    assert {str(inputs["maintenancePolicies"]) for inputs in pools(name="train").values()} == {
        str([{"exclusionUntilEndOfSupports": [{"enabled": True}]}])
    }
    assert all("maintenancePolicies" not in inputs for inputs in pools().values())


def test_nodes_on_which_a_run_trains_are_removed_when_they_are_empty_only() -> None:
    training = one(laddered(name="train"), "ComputeClass")["spec"]
    assert training["autoscalingPolicy"] == {"consolidationThreshold": 0, "gpuConsolidationThreshold": 0}
    assert "autoscalingPolicy" not in one(laddered(), "ComputeClass")["spec"]


def test_a_region_knows_the_pools_of_its_own_runs() -> None:
    """The run of the contract's stack trains on pool `train` of the second region."""
    case = TARGETS["gcp"]
    kept = {
        pool.name
        for pool in assembled(case).of(":NodePool")
        if pool.inputs.get("maintenancePolicies") is not None
    }
    assert kept == {f"{case.regions[1]}-train-on-demand"}


def test_an_upgrade_needs_no_accelerator_more_than_there_are() -> None:
    assert pools()["spot"]["upgradeSettings"] == {"maxSurge": 0, "maxUnavailable": 1}
