"""Rows of AWS, against the answers of EC2 that moto bundles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import moto
import pytest

from components.aws.system import machine_in
from components.aws.zones import LETTERS
from components.catalog.accelerators import accelerator, accelerators_on, machine, regions_of, regions_with
from components.catalog.aws import SOURCE, SYSTEM, offering
from components.catalog.rows import Kind

BUNDLED = Path(moto.__file__).parent / "ec2" / "resources"
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}


def read(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


TYPES: dict[str, dict[str, Any]] = read(BUNDLED / "instance_types.json.gz")
OFFERINGS = {
    path.name.partition(".")[0]: {row["InstanceType"] for row in read(path)}
    for path in (BUNDLED / "instance_type_offerings" / "region").glob("*.json.gz")
}
ZONES = {
    path.name.partition(".")[0]: [(row["InstanceType"], row["Location"]) for row in read(path)]
    for path in (BUNDLED / "instance_type_offerings" / "availability-zone").glob("*.json.gz")
}
"""Region -> instance types and the zones that offer them."""
ROWS = accelerators_on("aws")
GPUS = [name for name in ROWS if accelerator(name).kind is Kind.GPU]


def gpus_of(facts: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    """Manufacturer, name, MiB each and count of the GPUs of an instance type."""
    return [
        (gpu["Manufacturer"], gpu["Name"].lower(), gpu["MemoryInfo"]["SizeInMiB"], gpu["Count"])
        for gpu in facts.get("GpuInfo", {}).get("Gpus", [])
    ]


def facts_of(name: str) -> dict[str, Any]:
    return TYPES[machine("aws", name).machine_type]


def test_the_source_names_the_moto_that_is_compared_with() -> None:
    assert f"moto {moto.__version__}" in SOURCE


@pytest.mark.parametrize("name", GPUS)
def test_a_row_has_the_gpus_of_its_instance_type(name: str) -> None:
    expected = ("NVIDIA", name.partition("-")[0], accelerator(name).memory_mib, machine("aws", name).count)
    assert gpus_of(facts_of(name)) == [expected]


@pytest.mark.parametrize("name", GPUS)
def test_a_row_is_the_smallest_with_one_gpu_or_else_the_one_with_eight(name: str) -> None:
    model = gpus_of(facts_of(name))[0][:3]
    single = {
        instance_type: (facts["VCpuInfo"]["DefaultVCpus"], facts["MemoryInfo"]["SizeInMiB"])
        for instance_type, facts in TYPES.items()
        if gpus_of(facts) == [(*model, 1)]
    }
    chosen = machine("aws", name)
    if single:
        assert single[chosen.machine_type] == min(single.values())
    else:
        assert chosen.count == 8


def test_a_node_of_cpus_has_none_of_the_accelerators() -> None:
    facts = facts_of("cpu")
    assert gpus_of(facts) == [] and not facts.keys() & {"InferenceAcceleratorInfo", "NeuronInfo", "FpgaInfo"}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_architecture_of_its_instance_type(name: str) -> None:
    offered = facts_of(name)["ProcessorInfo"]["SupportedArchitectures"]
    assert offered == [ARCHITECTURES[machine("aws", name).architecture]]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_memory_of_its_instance_type(name: str) -> None:
    assert machine("aws", name).memory_mib == facts_of(name)["MemoryInfo"]["SizeInMiB"]


@pytest.mark.parametrize("name", ROWS)
def test_nodes_reach_each_other_by_efa_where_the_instance_type_has_it(name: str) -> None:
    network = facts_of(name)["NetworkInfo"]
    assert machine("aws", name).fabric == ("efa" if network["EfaSupported"] else "ethernet")
    assert machine("aws", name).efa_interfaces == network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_offered_where_ec2_offers_its_instance_type(name: str) -> None:
    chosen = machine("aws", name).machine_type
    assert set(regions_with("aws", name)) == {
        region for region, types in OFFERINGS.items() if chosen in types
    }


def test_the_regions_are_those_of_ec2() -> None:
    assert set(regions_of("aws")) == OFFERINGS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_row_can_be_bought_on_demand_and_as_spot(name: str) -> None:
    assert {"on-demand", "spot"} <= set(facts_of(name)["SupportedUsageClasses"])


@pytest.mark.parametrize("name", [*ROWS, SYSTEM])
def test_a_row_is_offered_in_the_zones_in_which_ec2_offers_its_instance_type(name: str) -> None:
    for region, offers in ZONES.items():
        if name != SYSTEM and region not in regions_with("aws", name):
            continue
        chosen = machine_in(region) if name == SYSTEM else machine("aws", name).machine_type
        zones = sorted({zone for _, zone in offers})
        assert offering(name, zones) == tuple(sorted(zone for kind, zone in offers if kind == chosen)), region


def test_regions_have_zones_of_these_letters() -> None:
    assert {zone[-1] for offers in ZONES.values() for _, zone in offers} == set(LETTERS)
