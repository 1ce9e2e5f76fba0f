"""The zone of a reservation offers the machine of its pool, on each cloud."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings.load import load_stack_settings
from tests.unit.settings.files import ROOT, only_mistake_of, settings_of


def reserving(region: str, accelerator: str, ladder: list[str], zone: str) -> dict[str, Any]:
    """The regional stack of a cloud with nothing but its pool that has a reservation."""
    stack = settings_of(ROOT / "stacks" / f"Pulumi.dev-{region}.yaml")
    train = {**stack["pools"][1], "accelerator": accelerator, "ladder": ladder, "reservation_zone": zone}
    return {**stack, "pools": [train], "training": [], "models": [], "services": []}


@pytest.mark.parametrize(
    ("stack", "accelerator", "ladder", "lacking", "offering"),
    [
        ("aws-us-east-1", "b200", ["reserved"], "us-east-1a", "us-east-1c"),
        ("aws-us-east-1", "a100-80gb", ["reserved", "spot"], "us-east-1a", "us-east-1b"),
        ("gcp-us-central1", "a100-80gb", ["reserved"], "us-central1-b", "us-central1-a, us-central1-c"),
        ("gcp-us-central1", "a100-80gb", ["reserved", "spot"], "us-central1-b", "us-central1-a"),
    ],
)
def test_a_reservation_in_a_zone_without_the_machine_is_answered_with_the_zones_that_have_it(
    stack: str, accelerator: str, ladder: list[str], lacking: str, offering: str
) -> None:
    settings = reserving(stack, accelerator, ladder, lacking)
    mistake = only_mistake_of(settings)
    assert (mistake.path, mistake.value) == ("pools[0].reservation_zone", lacking)
    assert f"zones that do: {offering}" in mistake.rule
    region = stack.partition("-")[2]
    assert f"target.networks.{region}.accelerator_zones.{accelerator}" in mistake.remedy
    settings["target"]["networks"][region]["accelerator_zones"] = {accelerator: [lacking]}
    load_stack_settings(settings)
