"""What a region asks of a project's quota, and what the guide says of it."""

from __future__ import annotations

import re

import pytest

from components.catalog.accelerators import accelerators_on, machine
from components.gcp.quota import CHIPS, DISKS, Need, quota
from components.settings.items import Capacity, PoolSettings
from components.settings.load import load_stack_settings
from tests.unit.catalog.test_gcp import METRICS
from tests.unit.gcp.regions import ZONES, made, one
from tests.unit.settings.files import ROOT, settings_of

GUIDE = ROOT / "docs" / "how-to" / "first-cloud-region.md"
STACK = "dev-gcp-us-central1"
SMALLEST_SSD_GB = 250
"""Of a new project in a region; see `components/gcp/quota.py`."""


def pool(**changes: object) -> PoolSettings:
    return PoolSettings.model_validate({"name": "one", "accelerator": "l4", "max_nodes": 2, **changes})


def test_a_first_region_in_three_zones_fits_into_a_new_projects_ssd() -> None:
    assert quota(3, [])["SSD_TOTAL_GB"].first <= SMALLEST_SSD_GB


def test_the_quota_is_that_of_the_nodes_which_are_declared() -> None:
    recording = made()
    need = quota(len(ZONES), [])
    system = one(recording, "NodePool")
    per_zone = system["autoscaling"]["maxNodeCount"]
    gib = system["nodeConfig"]["diskSizeGb"]
    assert system["nodeConfig"]["diskType"] == "pd-balanced"
    assert need["SSD_TOTAL_GB"] == Need(len(ZONES) * gib, len(ZONES) * per_zone * gib)
    discarded = one(recording, "Cluster")["nodeConfig"]
    assert discarded["diskType"] == "pd-standard"
    assert need["DISKS_TOTAL_GB"].first == len(ZONES) * discarded["diskSizeGb"]


def test_each_rung_that_is_bought_counts_its_own_accelerators() -> None:
    ladder = tuple(Capacity)
    need = quota(3, [pool(ladder=ladder, reservation="a-b", reservation_zone="us-central1-a")])
    gpus = {metric: told.most for metric, told in need.items() if metric.endswith("_GPUS")}
    assert gpus == {"NVIDIA_L4_GPUS": 2, "PREEMPTIBLE_NVIDIA_L4_GPUS": 2}


def test_hyperdisks_have_a_quota_of_their_own() -> None:
    with_hyperdisk = quota(3, [pool(accelerator="h200-141gb", ladder=(Capacity.SPOT,))])
    assert with_hyperdisk["HDB_TOTAL_GB"] == Need(0, 400)
    assert with_hyperdisk["SSD_TOTAL_GB"] == quota(3, [])["SSD_TOTAL_GB"]


@pytest.mark.parametrize("metric", sorted({*DISKS.values(), *CHIPS.values(), "CPUS"}))
def test_a_metric_is_one_of_google(metric: str) -> None:
    assert metric in METRICS


@pytest.mark.parametrize("name", accelerators_on("gcp"))
def test_every_machine_boots_from_a_disk_whose_quota_is_known(name: str) -> None:
    assert machine("gcp", name).disk_type in DISKS


def test_the_guides_table_is_what_the_stack_file_needs() -> None:
    settings = load_stack_settings(settings_of(ROOT / "stacks" / f"Pulumi.{STACK}.yaml"))
    (network,) = settings.target.networks.values()  # pyright: ignore[reportAttributeAccessIssue]
    rows = re.findall(r"^ *\| `([A-Z_0-9]+)` \| (\d+) \| (\d+) \|$", GUIDE.read_text(), re.MULTILINE)
    told = {metric: Need(int(first), int(most)) for metric, first, most in rows}
    assert STACK in GUIDE.read_text()
    assert told == quota(len(network.zones), settings.pools)
