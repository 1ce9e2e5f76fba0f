"""What every row of the catalog keeps, and what can be asked of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from components.catalog import aws, gcp
from components.catalog.accelerators import (
    ACCELERATORS,
    MACHINES,
    Kind,
    accelerator,
    accelerators_in,
    accelerators_on,
    machine,
    regions_of,
    regions_with,
)
from components.catalog.rows import RESOURCES, Accelerator

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
NAMES = {row.name for row in ACCELERATORS}
PLACED = [(target, name) for target, machines in MACHINES.items() for name in machines]
TARGETS = sorted(MACHINES)
OFFERED = {"aws": aws.OFFERED, "gcp": gcp.OFFERED}


def compared_in(source: str) -> Iterator[str]:
    """Texts that a source compares something with, by an operator or a match."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.MatchValue):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize("row", ACCELERATORS, ids=lambda row: row.name)
def test_an_accelerator_says_where_its_memory_is_from(row: Accelerator) -> None:
    assert len(row.source.split()) > 2
    assert date(2024, 1, 1) <= date.fromisoformat(row.as_of)


@pytest.mark.parametrize(("target", "name"), PLACED)
def test_a_machine_says_where_it_is_from(target: str, name: str) -> None:
    row = machine(target, name)
    assert len(row.source.split()) > 2
    assert date(2024, 1, 1) <= date.fromisoformat(row.as_of)


def test_an_accelerator_has_one_row() -> None:
    assert len(NAMES) == len(ACCELERATORS)


def test_names_are_in_lower_case_and_fit_a_label_of_kubernetes() -> None:
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in NAMES)


def test_a_machine_carries_an_accelerator_that_has_a_row() -> None:
    assert {name for _, name in PLACED} == NAMES


@pytest.mark.parametrize(("target", "name"), PLACED)
def test_only_a_node_of_cpus_has_no_accelerator(target: str, name: str) -> None:
    assert (machine(target, name).count == 0) == (accelerator(name).kind is Kind.CPU)


@pytest.mark.parametrize("row", ACCELERATORS, ids=lambda row: row.name)
def test_only_a_cpu_has_no_memory_and_no_resource(row: Accelerator) -> None:
    assert (row.memory_mib == 0) == (row.resource is None) == (row.kind is Kind.CPU)


def test_every_kind_has_its_resource() -> None:
    assert set(RESOURCES) == set(Kind)
    assert accelerator("l4").resource == "nvidia.com/gpu"
    assert accelerator("tpu-v5e").resource == "google.com/tpu"


@pytest.mark.parametrize(("target", "name"), PLACED)
def test_slices_and_a_tpu_type_come_with_a_tpu(target: str, name: str) -> None:
    row = machine(target, name)
    assert bool(row.topologies) == bool(row.tpu_type) == (accelerator(name).kind is Kind.TPU)


@pytest.mark.parametrize("row", [row for row in ACCELERATORS if "gb" in row.name], ids=lambda row: row.name)
def test_a_name_that_tells_gigabytes_tells_the_memory(row: Accelerator) -> None:
    assert row.name.endswith(f"-{row.memory_mib // 1024}gb")


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_component_decides_by_an_accelerators_name(path: Path) -> None:
    assert NAMES.isdisjoint(compared_in(path.read_text()))


@pytest.mark.parametrize(
    "source", ['name == "t4"', 'name in ("t4", "l4")', 'match name:\n    case "t4":\n        pass\n']
)
def test_a_decision_by_a_name_is_seen(source: str) -> None:
    assert "t4" in compared_in(source)


def test_a_key_of_a_table_is_no_decision() -> None:
    assert list(compared_in('{"t4": 1}["t4"]')) == []


def test_a_slot_of_target_local_is_wherever_the_target_is() -> None:
    assert accelerators_on("local") == ("cpu",)
    assert (machine("local", "cpu").machine_type, machine("local", "cpu").count) == ("slot", 0)
    assert accelerators_in("local", "anywhere") == ("cpu",)
    assert regions_of("local") == regions_with("local", "cpu") == ()


@pytest.mark.parametrize("target", TARGETS)
def test_accelerators_of_a_target_are_sorted_and_are_its_machines(target: str) -> None:
    assert accelerators_on(target) == tuple(sorted(MACHINES[target]))


def test_a_target_without_rows_has_nothing() -> None:
    assert accelerators_on("nowhere") == regions_of("nowhere") == accelerators_in("nowhere", "anywhere") == ()


@pytest.mark.parametrize("target", OFFERED)
def test_what_a_region_has_and_who_has_it_are_one_table(target: str) -> None:
    by_region = {(region, name) for region in regions_of(target) for name in accelerators_in(target, region)}
    by_name = {(region, name) for name in accelerators_on(target) for region in regions_with(target, name)}
    assert by_region == by_name


@pytest.mark.parametrize("target", OFFERED)
def test_regions_are_sorted_and_there_are_some_for_every_accelerator(target: str) -> None:
    assert list(regions_of(target)) == sorted(set(regions_of(target)))
    for name in accelerators_on(target):
        assert regions_with(target, name)
        assert list(regions_with(target, name)) == sorted(set(regions_with(target, name)))


@pytest.mark.parametrize("target", OFFERED)
def test_a_table_of_regions_names_only_machines_of_its_target(target: str) -> None:
    offers = {offer for offers in OFFERED[target].values() for offer in offers.split()}
    assert {offer.partition(":")[0] for offer in offers} <= set(
        MACHINES[target]
    )  # zones stand behind the colon


def test_a_region_that_a_target_does_not_have_has_no_accelerator() -> None:
    assert accelerators_in("aws", "europe-west4") == accelerators_in("gcp", "us-east-1") == ()


def test_an_accelerator_without_a_row_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="k80"):
        accelerator("k80")


def test_a_machine_that_a_target_does_not_have_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="local"):
        machine("local", "l4")


@pytest.mark.parametrize("row", ACCELERATORS, ids=lambda row: row.name)
def test_only_a_gpu_has_a_compute_capability(row: Accelerator) -> None:
    assert (row.capability is not None) == (row.kind is Kind.GPU)


def test_float8_is_multiplied_from_ada_on() -> None:
    assert {row.name for row in ACCELERATORS if row.multiplies_float8} == {
        *("l4", "l40s", "h100-80gb", "h100-mega-80gb", "h200-141gb", "b200")
    }


@pytest.mark.parametrize(("gib", "left_mib"), [(4, 2972), (16, 13622), (128, 121429), (256, 249880)])
def test_a_node_keeps_a_share_of_its_memory_that_falls_with_its_size(gib: int, left_mib: int) -> None:
    row = replace(machine("aws", "cpu"), memory_mib=gib * 1024)
    assert row.pod_memory_mib == left_mib
