"""What a pod may do, and what it reaches for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi import Output

from components.contracts import Access, Grant, ServiceAccount
from components.gcp.identity import EGRESS, bucket_of, condition, principal
from tests.recorder import Recording
from tests.unit.gcp.regions import NUMBER, PROJECT, made

FOLDERS = st.lists(st.text("ab\"'\\-é", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)


def granted(*grants: Grant) -> Recording:
    def ask(host: Any) -> Any:
        return host.access(ServiceAccount("skerry", "assistant"), grants).granted

    return made(ask)


def grant(uri: str, access: Access = Access.READ) -> Grant:
    return Grant(Output.from_input(uri), access)


def holds(expression: str, resource: str) -> bool:
    """What IAM would say of a bucket or an object, by its name, of the form that is used."""
    quoted = r'"(?:[^"\\]|\\.)*"'
    found = re.fullmatch(
        rf"resource\.type == ({quoted}) \|\| resource\.name\.startsWith\(({quoted})\)", expression
    )
    assert found
    kind = "storage.googleapis.com/Object" if "/objects/" in resource else "storage.googleapis.com/Bucket"
    return kind == json.loads(found[1]) or resource.startswith(json.loads(found[2]))


def test_a_service_account_is_itself_the_member() -> None:
    (member,) = granted(grant("gs://bucket/models")).of(":BucketIAMMember")
    assert member.inputs["member"] == (
        f"principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/"
        f"{PROJECT}.svc.id.goog/subject/ns/skerry/sa/assistant"
    )


@pytest.mark.parametrize(
    ("access", "role"),
    [(Access.READ, "roles/storage.objectViewer"), (Access.WRITE, "roles/storage.objectUser")],
)
def test_a_grant_is_the_least_role_that_holds_it(access: Access, role: str) -> None:
    (member,) = granted(grant("gs://bucket/models", access)).of(":BucketIAMMember")
    assert (member.inputs["bucket"], member.inputs["role"]) == ("bucket", role)


def test_each_grant_is_a_binding_of_its_own() -> None:
    members = granted(grant("gs://one/a"), grant("gs://two/b", Access.WRITE)).of(":BucketIAMMember")
    assert {member.inputs["bucket"] for member in members} == {"one", "two"}
    assert len({member.inputs["condition"]["title"] for member in members}) == 2


def test_no_google_account_and_no_annotation_stands_in_between() -> None:
    before, after = made(), granted(grant("gs://bucket/models"))
    kinds = {resource.kind for resource in after.resources.values()}
    assert len(after.of(":Account")) == len(before.of(":Account"))
    assert not any("serviceaccount/iAM" in kind or "core/v1:ServiceAccount" in kind for kind in kinds)


def test_whoever_waits_for_the_grants_learns_the_accounts_name() -> None:
    assert granted(grant("gs://bucket/models")).returned == "assistant"


def test_an_account_without_grants_needs_nothing() -> None:
    recording = granted()
    assert recording.returned == "assistant"
    assert recording.of(":BucketIAMMember") == []


@given(FOLDERS, FOLDERS)
def test_a_grant_holds_for_its_folder_and_for_nothing_beside_it(folder: str, other: str) -> None:
    expression = condition(f"gs://bucket/{folder}")
    objects = "projects/_/buckets/bucket/objects"
    assert holds(expression, f"{objects}/{folder}/model.bin")
    within = f"{other}/".startswith(f"{folder}/")
    assert holds(expression, f"{objects}/{other}/model.bin") == within
    assert not holds(expression, f"{objects}/{folder}-more/model.bin")


def test_names_in_the_bucket_can_be_listed() -> None:
    assert holds(condition("gs://bucket/models"), "projects/_/buckets/bucket")


@given(FOLDERS)
def test_a_slash_at_the_end_of_a_folder_means_nothing(folder: str) -> None:
    assert condition(f"gs://bucket/{folder}/") == condition(f"gs://bucket/{folder}")


def test_a_whole_tier_is_every_object_of_its_bucket_and_of_no_other() -> None:
    expression = condition("gs://bucket")
    assert holds(expression, "projects/_/buckets/bucket/objects/any/thing")
    assert '"projects/_/buckets/bucket/objects/"' in expression


def test_the_bucket_is_the_first_part_of_a_uri() -> None:
    assert [bucket_of(uri) for uri in ("gs://one", "gs://one/", "gs://one/two/three")] == ["one"] * 3


def test_two_accounts_are_two_principals() -> None:
    names = {principal(1, "p.svc.id.goog", namespace, name) for namespace in "ab" for name in "cd"}
    assert len(names) == 4


def test_pods_reach_the_metadata_server_and_googles_private_range_alone() -> None:
    assert {(egress.cidr, egress.port) for egress in EGRESS} == {
        ("169.254.169.254/32", 80),
        ("169.254.169.254/32", 8080),
        ("199.36.153.8/30", 443),
    }
