"""Rows of GCP, against the discovery documents that google-api-python-client bundles."""

from __future__ import annotations

import json
import re
from math import prod
from typing import Any

import pytest
from googleapiclient.discovery_cache import get_static_doc

from components.catalog.accelerators import accelerator, accelerators_on, machine, regions_of, regions_with
from components.catalog.rows import Kind, Machine


def document(api: str, version: str) -> dict[str, Any]:
    text = get_static_doc(api, version)
    assert text, f"no discovery document of {api} {version} is bundled"
    return json.loads(text)


COMPUTE, CONTAINER, TPU = document("compute", "v1"), document("container", "v1"), document("tpu", "v2")
METRICS = set(COMPUTE["schemas"]["Quota"]["properties"]["metric"]["enum"])
COMMITMENTS = set(COMPUTE["schemas"]["Commitment"]["properties"]["type"]["enum"])
ROWS = accelerators_on("gcp")
GPUS = [name for name in ROWS if accelerator(name).kind is Kind.GPU]
TPUS = [name for name in ROWS if accelerator(name).kind is Kind.TPU]

SERIES = {
    "n1-": ("GENERAL_PURPOSE", "N1"),
    "n2-": ("GENERAL_PURPOSE_N2", "N2"),
    "g2-": ("GRAPHICS_OPTIMIZED", "G2"),
    "a2-": ("ACCELERATOR_OPTIMIZED", "A2"),
    "a3-highgpu-": ("ACCELERATOR_OPTIMIZED_A3", "A3 High"),
    "a3-megagpu-": ("ACCELERATOR_OPTIMIZED_A3_MEGA", "A3 Mega"),
    "a3-ultragpu-": ("ACCELERATOR_OPTIMIZED_A3_ULTRA", "A3 Ultra"),
    "a4-highgpu-": ("ACCELERATOR_OPTIMIZED_A4", "A4"),
}
"""Start of a machine type -> its commitment type and its trade name. Google sells no commitment of a TPU's machine."""

QUOTAS = {
    "nvidia-tesla-t4": ("T4", {"", "PREEMPTIBLE_", "COMMITTED_"}),
    "nvidia-l4": ("L4", {"", "PREEMPTIBLE_", "COMMITTED_"}),
    "nvidia-tesla-a100": ("A100", {"", "PREEMPTIBLE_", "COMMITTED_"}),
    "nvidia-a100-80gb": ("A100_80GB", {"", "PREEMPTIBLE_", "COMMITTED_"}),
    "nvidia-h100-80gb": ("H100", {"PREEMPTIBLE_", "COMMITTED_"}),
    "nvidia-h100-mega-80gb": ("H100_MEGA", set[str]()),
    "nvidia-h200-141gb": ("H200", set[str]()),
    "nvidia-b200": ("B200", set[str]()),
}
"""GPU type -> its word in quota metrics and what stands before it; newer ones have none in the document."""

TPU_TYPES = {"tpu-v5-lite-podslice": ("TPU_LITE_PODSLICE_V5", "V5LITE_POD")}
"""TPU type of GKE -> its quota metric in compute v1 and its type in tpu v2."""


def row_of(name: str) -> Machine:
    return machine("gcp", name)


def series_of(name: str) -> tuple[str, str]:
    (found,) = [series for start, series in SERIES.items() if row_of(name).machine_type.startswith(start)]
    return found


def test_the_regions_are_those_with_an_endpoint_of_the_api() -> None:
    assert set(regions_of("gcp")) == {endpoint["location"] for endpoint in COMPUTE["endpoints"]}


@pytest.mark.parametrize("name", [name for name in ROWS if name not in TPUS])
def test_a_machine_series_can_be_committed_to(name: str) -> None:
    assert series_of(name)[0] in COMMITMENTS


def test_the_document_says_that_the_plain_general_purpose_is_n1() -> None:
    text = " ".join(COMPUTE["schemas"]["Commitment"]["properties"]["type"]["description"].split())
    assert (
        "Type GENERAL_PURPOSE specifies a commitment that applies only to eligible resources of general purpose N1"
        in text
    )


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_type_has_the_quota_metrics_of_the_table_and_no_other(name: str) -> None:
    word, before = QUOTAS[row_of(name).gpu_type]
    metric = re.compile(rf"([A-Z]+_)?NVIDIA_{word}_GPUS")
    assert {found[1] or "" for found in map(metric.fullmatch, METRICS) if found} == before


def test_every_gpu_type_is_checked_by_a_metric_or_has_a_series_of_its_own() -> None:
    by_series = [name for name in GPUS if not QUOTAS[row_of(name).gpu_type][1]]
    assert len({series_of(name) for name in by_series}) == len(by_series)


@pytest.mark.parametrize("name", ROWS)
def test_only_a_gpu_has_a_gpu_type_and_it_tells_the_accelerator(name: str) -> None:
    gpu_type = row_of(name).gpu_type
    assert bool(gpu_type) == (name in GPUS)
    assert name.startswith(gpu_type.removeprefix("nvidia-").removeprefix("tesla-"))


@pytest.mark.parametrize("name", ROWS)
def test_a_machine_type_that_tells_a_number_of_accelerators_has_so_many(name: str) -> None:
    told = re.search(r"-(\d+)[gt]$", row_of(name).machine_type)
    assert row_of(name).count == (int(told[1]) if told else min(row_of(name).count, 1))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in TPUS])
def test_nodes_have_rdma_where_gke_offers_it(name: str) -> None:
    strategy = CONTAINER["schemas"]["GPUDirectConfig"]["properties"]["gpuDirectStrategy"]
    told = dict(zip(strategy["enum"], strategy["enumDescriptions"], strict=True))["RDMA"]
    trade_name = series_of(name)[1]
    assert (row_of(name).fabric == "rdma") == bool(re.search(rf"\b{trade_name}\b", told))


@pytest.mark.parametrize("name", TPUS)
def test_a_tpu_type_has_a_quota_metric_and_a_type_of_the_tpu_api(name: str) -> None:
    metric, tpu_type = TPU_TYPES[row_of(name).tpu_type]
    assert {metric, f"PREEMPTIBLE_{metric}"} <= METRICS
    assert tpu_type in TPU["schemas"]["AcceleratorConfig"]["properties"]["type"]["enum"]


@pytest.mark.parametrize("name", TPUS)
def test_slices_are_made_of_whole_nodes_from_one_on_and_grow(name: str) -> None:
    chips = [prod(map(int, topology.split("x"))) for topology in row_of(name).topologies]
    assert chips[0] == row_of(name).count
    assert chips == sorted(set(chips)) and all(number % row_of(name).count == 0 for number in chips)


def test_a_region_with_accelerators_has_machines_without() -> None:
    for name in ROWS:
        assert set(regions_with("gcp", name)) <= set(regions_with("gcp", "cpu"))


@pytest.mark.parametrize("name", ROWS)
def test_zones_are_listed_in_regions_that_offer_the_machine(name: str) -> None:
    zones = row_of(name).zones
    assert set(zones) <= set(regions_with("gcp", name))
    for region, listed in zones.items():
        assert listed and list(listed) == sorted(set(listed))
        assert all(re.fullmatch(rf"{region}-[a-f]", zone) for zone in listed)
