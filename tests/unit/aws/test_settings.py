"""Bad input for target `aws`: each mistake has its path and says what to do."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.aws.settings import LONGEST_PAUSE_SECONDS
from components.settings.items import SILENCE_MARGIN_SECONDS
from components.settings.load import load_stack_settings
from tests.unit.settings.files import ROOT, mistakes_of, only_mistake_of, settings_of

REGIONAL = settings_of(ROOT / "stacks" / "Pulumi.dev-aws-us-east-1.yaml")
GLOBAL = settings_of(ROOT / "stacks" / "Pulumi.dev-aws-global.yaml")
NETWORK = REGIONAL["target"]["networks"]["us-east-1"]
PATH = "target.networks.us-east-1"


def target(**changes: Any) -> dict[str, Any]:
    """The regional stack with other settings of its target."""
    return {**copy.deepcopy(REGIONAL), "target": {**copy.deepcopy(REGIONAL["target"]), **changes}}


def network(**changes: Any) -> dict[str, Any]:
    """The regional stack with other settings of its network."""
    return target(networks={"us-east-1": {**copy.deepcopy(NETWORK), **changes}})


def reserved(reservation: str) -> dict[str, Any]:
    """The regional stack with another reservation."""
    settings = copy.deepcopy(REGIONAL)
    settings["pools"][1]["reservation"] = reservation
    return settings


@pytest.mark.parametrize(
    "settings", [REGIONAL, GLOBAL, reserved("cr-01234567")], ids=["regional", "global", "old id"]
)
def test_what_is_right_is_taken(settings: dict[str, Any]) -> None:
    assert load_stack_settings(settings).target.name == "aws"


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("10.16.0.0/21", "2048 addresses are too small: the prefix is /16 to /20"),
        ("10.0.0.0/15", "131072 addresses are too large: the prefix is /16 to /20"),
        ("10.16.0.1/16", "is no range"),
        ("11.0.0.0/16", "is not a private range"),
        ("ten", "a range is written as address/prefix, such as 10.16.0.0/16"),
    ],
)
def test_a_range_of_the_vpc_is_private_and_of_a_size_that_serves(cidr: str, words: str) -> None:
    mistake = only_mistake_of(network(cidr=cidr))
    assert mistake.path == f"{PATH}.cidr" and words in mistake.rule


def test_ranges_of_two_regions_share_no_address() -> None:
    other = {
        **copy.deepcopy(NETWORK),
        "cidr": "10.16.128.0/20",
        "zones": ["us-west-2a", "us-west-2b"],
        "certificate": NETWORK["certificate"].replace("us-east-1", "us-west-2"),
    }
    settings = target(networks={"us-east-1": NETWORK, "us-west-2": other})
    settings["regions"].append({"name": "us-west-2"})
    mistake = only_mistake_of(settings)
    assert mistake.path == "target.networks.us-west-2.cidr"
    assert mistake.rule == f"overlaps with {PATH}.cidr (10.16.0.0/16)"


@pytest.mark.parametrize(
    ("zones", "path", "words"),
    [
        (["us-east-1b", "us-west-2b"], "zones[1]", "is no zone of region 'us-east-1'"),
        (["us-east-1a", "us-east-1b", "us-east-1-bos-1a"], "zones[2]", "a zone is a region and a letter"),
        (["us-east-1b", "us-east-1b"], "zones[1]", "a value is given once"),
        (["us-east-1a"], "zones", "must have at least 2 entries"),
        ([f"us-east-1{letter}" for letter in "abcd"], "zones", "must have at most 3 entries"),
        (
            ["us-east-1a", "us-east-1b", "use1-az3"],
            "zones[2]",
            "a zone is a region and a letter, such as us-east-1a",
        ),
    ],
)
def test_zones_are_two_or_three_of_the_region(zones: list[str], path: str, words: str) -> None:
    mistake = only_mistake_of(network(zones=zones))
    assert mistake.path == f"{PATH}.{path}" and words in mistake.rule


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (NETWORK["certificate"].replace("us-east-1", "eu-west-1"), "of its own region, 'us-east-1'"),
        ("arn:aws:iam::111122223333:server-certificate/mine", "a certificate is arn:aws:acm:REGION:ACCOUNT"),
    ],
)
def test_a_certificate_is_one_of_acm_in_the_region(certificate: str, words: str) -> None:
    mistake = only_mistake_of(network(certificate=certificate))
    assert mistake.path == f"{PATH}.certificate" and words in mistake.rule


@pytest.mark.parametrize(
    ("operators", "words"),
    [
        (["10.64.0.1/24"], "is no range"),
        (["10.64.0.0"], "a range is written as address/prefix"),
        (["0.0.0.0/0"], "this is everybody"),
    ],
)
def test_operators_come_from_ranges(operators: list[str], words: str) -> None:
    mistake = only_mistake_of(network(operators=operators))
    assert mistake.path == f"{PATH}.operators[0]" and words in mistake.rule


EMPTY = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/24", "240.0.0.0/4", "128.0.0.0/1")


@pytest.mark.parametrize("cidr", EMPTY)
@pytest.mark.parametrize("setting", ["operators", "public_access", "extra_routes"])
def test_a_range_without_other_machines_is_refused_wherever_one_is_named(setting: str, cidr: str) -> None:
    routes = setting == "extra_routes"
    given = {"destination": cidr, "target": "pcx-0123456789abcdef0"} if routes else cidr
    mistake = only_mistake_of(network(**{setting: [given]}))
    assert mistake.path == f"{PATH}.{setting}[0]" + (".destination" if routes else "")
    assert mistake.value == cidr and "no other machine has an address in" in mistake.rule


@pytest.mark.parametrize("account", ["11112222333", "my-account", "1111-2222-3333"])
def test_an_account_is_twelve_digits(account: str) -> None:
    mistake = mistakes_of(target(account=account))["target.account"]
    assert mistake.rule == "an account is 12 digits, in quotes"


def test_an_account_without_quotes_is_told_to_be_text() -> None:
    assert mistakes_of(target(account=111122223333))["target.account"].rule == "must be text"


@pytest.mark.parametrize(
    "role",
    ["admin", "arn:aws:iam::111122223333:user/me", "arn:aws:sts::111122223333:assumed-role/admin/me"],
)
def test_an_administrator_is_a_role(role: str) -> None:
    mistake = mistakes_of(target(administrators=[role]))["target.administrators[0]"]
    assert mistake.rule == "a role is arn:aws:iam::ACCOUNT:role/NAME"


def test_a_cluster_that_nobody_could_reach_is_refused() -> None:
    mistake = only_mistake_of(target(administrators=[]))
    assert mistake.path == "target.administrators" and "its creator is given no rights" in mistake.rule


@pytest.mark.parametrize("reservation", ["mine", "cr-0123", "cr-0123456789ABCDEF0"])
def test_a_reservation_is_named_by_its_id(reservation: str) -> None:
    mistake = only_mistake_of(reserved(reservation))
    assert mistake.path == "pools[1].reservation"
    assert (
        "cr- and 17 hexadecimal digits" in mistake.rule and "describe-capacity-reservations" in mistake.remedy
    )


def test_a_pause_that_the_accelerator_would_cut_is_refused() -> None:
    longest = LONGEST_PAUSE_SECONDS - SILENCE_MARGIN_SECONDS
    assert load_stack_settings({**GLOBAL, "endpoint": {"idle_timeout_seconds": longest}})
    mistake = only_mistake_of({**GLOBAL, "endpoint": {"idle_timeout_seconds": longest + 1}})
    assert mistake.path == "endpoint.idle_timeout_seconds"
    assert "forgets a connection after 340 seconds" in mistake.rule and "at most 330" in mistake.remedy
    regional = {**REGIONAL, "endpoint": {"idle_timeout_seconds": longest + 1}}
    assert only_mistake_of(regional).path == "endpoint.idle_timeout_seconds", "its gateway would wait in vain"


def test_a_region_that_lacks_an_accelerator_is_told_which_have_it() -> None:
    settings = copy.deepcopy(REGIONAL)
    settings["pools"][1]["accelerator"] = "tpu-v5e"
    mistake = mistakes_of(settings)["pools[1].accelerator"]
    assert "target aws has no such accelerator" in mistake.rule and "h100-80gb" in mistake.remedy


def big(**changes: Any) -> dict[str, Any]:
    """A pool of A100s with 80 GB, which us-east-1 offers in its zones b and c only, and another network."""
    settings = network(**changes)
    settings["pools"] = [{"name": "big", "accelerator": "a100-80gb", "max_nodes": 1}]
    for key in ("training", "models", "services"):
        settings.pop(key)
    return settings


def test_a_pool_in_zones_without_its_machine_type_is_refused_with_the_zones_that_have_it() -> None:
    load_stack_settings(big())
    mistake = only_mistake_of(big(zones=["us-east-1a", "us-east-1d"]))
    assert (mistake.path, mistake.value) == ("pools[0].accelerator", "a100-80gb")
    assert "us-east-1a, us-east-1d offers p4de.24xlarge" in mistake.rule
    assert "zones of us-east-1 that do: us-east-1b, us-east-1c" in mistake.rule
    assert "target.networks.us-east-1.accelerator_zones.a100-80gb" in mistake.remedy


def test_a_stack_file_says_which_zones_of_its_account_have_a_machine() -> None:
    zones = ["us-east-1a", "us-east-1d"]
    settings = big(zones=zones, accelerator_zones={"a100-80gb": ["us-east-1d"], "system": ["us-east-1a"]})
    target: Any = load_stack_settings(settings).target
    chosen = target.networks["us-east-1"]
    assert [chosen.zones_with(name) for name in ("a100-80gb", "system")] == [("us-east-1d",), ("us-east-1a",)]


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"l5": ["us-east-1a"]}, ".l5", "no such accelerator"),
        ({"l4": ["us-east-1c"]}, ".l4[0]", "none of the network's zones"),
        ({"l4": []}, ".l4", "at least 1"),
    ],
)
def test_zones_of_accelerators_are_zones_of_the_network(given: Any, path: str, words: str) -> None:
    mistake = only_mistake_of(network(accelerator_zones=given))
    assert mistake.path == f"{PATH}.accelerator_zones{path}" and words in mistake.rule


ROUTE = {"destination": "10.64.0.0/24", "target": "pcx-0123456789abcdef0"}


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"destination": "10.64.0.1/24"}, "[1].destination", "is no range"),
        ({"destination": "0.0.0.0/0"}, "[1].destination", "NAT gateway"),
        ({"destination": "10.16.4.0/24"}, "[1].destination", "overlaps with"),
        ({}, "[1].destination", "a destination is given once"),
        (
            {"destination": "10.65.0.0/24", "target": "i-0123456789abcdef0"},
            "[1].target",
            "a route leads to a peering connection",
        ),
    ],
)
def test_a_route_leads_to_one_joined_network(changes: Any, place: str, words: str) -> None:
    load_stack_settings(network(extra_routes=[ROUTE]))
    mistake = only_mistake_of(network(extra_routes=[ROUTE, {**ROUTE, **changes}]))
    assert mistake.path == f"{PATH}.extra_routes{place}" and words in mistake.rule


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("203.0.113.1/28", "is no range"),
        ("0.0.0.0/0", "this is everybody"),
        ("10.64.0.0/24", "public addresses only"),
    ],
)
def test_a_public_endpoint_is_open_to_named_public_ranges(cidr: str, words: str) -> None:
    load_stack_settings(network(public_access=["203.0.113.0/28"]))
    mistake = only_mistake_of(network(public_access=[cidr]))
    assert mistake.path == f"{PATH}.public_access[0]" and words in mistake.rule


@pytest.mark.parametrize(
    ("version", "words"),
    [("1.33", "ended on 2026-07-29"), ("1.99", "does not have it"), ("1.35.2", "written in quotes")],
)
def test_a_pinned_version_is_one_with_standard_support(version: str, words: str) -> None:
    load_stack_settings(target(kubernetes="1.35"))
    mistake = only_mistake_of(target(kubernetes=version))
    assert mistake.path == "target.kubernetes" and words in mistake.rule
