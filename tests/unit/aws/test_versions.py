"""What a cluster is made of is pinned in one place, and a stack file may name other versions."""

from __future__ import annotations

import re
from datetime import date

import pytest

from components.aws.system import AFTER_NODES, BEFORE_NODES
from components.aws.versions import (
    ADDON_PATTERN,
    ADDONS,
    AS_OF,
    RELEASE_PATTERN,
    TABLE,
    ClusterVersions,
    pinned,
    versions_are_sound,
)
from tests.unit.aws.regions import VERSIONS, region


def mistakes(kubernetes: str | None = "1.35", release: str | None = None, **addons: str) -> list[str]:
    named = {name.replace("_", "-"): version for name, version in addons.items()}
    return [str(found) for found in versions_are_sound("target", kubernetes, named, release)]


def test_every_row_has_a_date_and_versions_of_add_ons_that_clusters_have() -> None:
    assert set(ADDONS) == {*BEFORE_NODES, *AFTER_NODES}
    for kubernetes, row in TABLE.items():
        assert date.fromisoformat(row.support_ends).isoformat() == row.support_ends
        assert set(row.addons) <= set(ADDONS)
        assert all(re.fullmatch(ADDON_PATTERN, version) for version in row.addons.values())
        assert row.addons.get("kube-proxy", f"v{kubernetes}.").startswith(f"v{kubernetes}.")


def test_some_version_with_all_add_ons_is_supported() -> None:
    assert [row for row in TABLE.values() if row.support_ends > AS_OF and set(row.addons) == set(ADDONS)]


def test_an_add_on_of_the_stack_file_goes_before_that_of_the_table_and_nothing_is_pinned_without_a_version() -> (
    None
):
    found = pinned("1.35", {"coredns": "v1.13.9-eksbuild.1"}, None).addons
    assert found["coredns"] == "v1.13.9-eksbuild.1" and found["vpc-cni"] == TABLE["1.35"].addons["vpc-cni"]
    assert pinned(None, {}, None) == ClusterVersions()


def test_every_add_on_and_every_node_of_a_cluster_has_the_pinned_version() -> None:
    made = {found.inputs["addonName"]: found.inputs["addonVersion"] for found in region().of(":Addon")}
    assert made == VERSIONS.addons
    groups = region().of(":NodeGroup")
    assert groups and {found.inputs["releaseVersion"] for found in groups} == {VERSIONS.release}
    assert {found.inputs["version"] for found in groups} == {"1.35"}


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (mistakes("1.33"), "ended on 2026-07-29"),
        (mistakes("1.99"), "does not have it"),
        (mistakes(made_up="v1.0.0-eksbuild.1"), "no cluster of this target has such an add-on"),
        (mistakes(kube_proxy="v1.34.1-eksbuild.2"), "Choose a version that begins with v1.35."),
        (mistakes(None, coredns="v1.13.2-eksbuild.1"), "EKS would choose that"),
        (mistakes(None, release="1.34.0-18d04e52"), "EKS would choose that"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(found: list[str], rule: str) -> None:
    (only,) = found
    assert rule in only


def test_what_fits_is_not_refused() -> None:
    assert mistakes() == mistakes(None) == mistakes(kube_proxy="v1.35.2-eksbuild.4") == []
    assert re.fullmatch(RELEASE_PATTERN, "1.34.0-18d04e52") and not re.fullmatch(RELEASE_PATTERN, "1.34.0")
