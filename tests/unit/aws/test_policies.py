"""Documents of IAM: nothing is left open without a reason, in any document that a region makes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from components.aws.policies import REASONS, Statement, document, is_open, service_trust
from tests.unit.aws.regions import policies

NAMED = [
    "arn:aws:s3:::bucket",
    "arn:aws:s3:::bucket/*",
    "arn:aws:s3:::bucket/models/coder/*",
    "arn:aws:eks:us-east-1:111122223333:nodegroup/cluster/*",
    "arn:aws:kms:us-east-1:111122223333:key/12345678",
]
OPEN = [
    "*",
    "arn:aws:s3:::*",
    "arn:aws:s3:::bucket-*",
    "arn:aws:s3:::*/models/*",
    "arn:aws:kms:*:111122223333:key/12345678",
    "arn:aws:kms:us-east-1:111122223333:key/*",
    "arn:aws:logs:us-east-1:111122223333:log-group:group:*",
]


def statements() -> list[tuple[str, dict[str, Any]]]:
    return [(place, statement) for place, found in policies().items() for statement in found]


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@pytest.mark.parametrize("resource", NAMED)
def test_a_thing_and_what_is_in_it_is_no_open_resource(resource: str) -> None:
    assert not is_open(resource)


@pytest.mark.parametrize("resource", OPEN)
def test_an_open_resource_needs_a_reason(resource: str) -> None:
    assert is_open(resource)
    with pytest.raises(ValueError, match=r"statement 1: .* is left open without a reason.*ThisKeyAlone"):
        document(Statement(("s3:GetObject",), (resource,)))
    assert json.loads(document(Statement(("s3:GetObject",), (resource,), reason="ReadsListsOnly")))


def test_an_open_action_and_an_open_principal_need_a_reason() -> None:
    for statement in (
        Statement(("s3:*",), ("arn:aws:s3:::bucket",)),
        Statement(("s3:GetObject",), ("arn:aws:s3:::bucket",), {"AWS": "*"}),
    ):
        with pytest.raises(ValueError, match="is left open without a reason"):
            document(statement)


def test_what_is_denied_may_be_open() -> None:
    denied = Statement(("s3:*",), ("*",), {"AWS": "*"}, effect="Deny")
    assert json.loads(document(denied))["Statement"][0]["Effect"] == "Deny"


def test_a_reason_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="reason: 'BecauseIWant' is none of: ThisKeyAlone"):
        document(Statement(("s3:GetObject",), ("*",), reason="BecauseIWant"))


def test_a_reason_stands_in_the_document_once_per_statement() -> None:
    one = Statement(("ec2:DescribeImages",), ("*",), reason="ReadsListsOnly")
    written = json.loads(document(one, one))["Statement"]
    assert [statement["Sid"] for statement in written] == ["ReadsListsOnly1", "ReadsListsOnly2"]


@given(some.lists(some.sampled_from(NAMED + OPEN), min_size=1))
def test_a_document_without_reasons_names_all_that_it_allows(resources: list[str]) -> None:
    statement = Statement(("s3:GetObject",), tuple(resources))
    if any(map(is_open, resources)):
        with pytest.raises(ValueError, match="left open"):
            document(statement)
    else:
        assert json.loads(document(statement))["Statement"][0]["Resource"] == resources


def test_a_service_is_trusted_under_its_conditions() -> None:
    (statement,) = json.loads(service_trust("a.amazonaws.com", StringEquals={"key": "value"}))["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole"],
        "Principal": {"Service": "a.amazonaws.com"},
        "Condition": {"StringEquals": {"key": "value"}},
    }


def test_every_open_resource_of_a_region_carries_a_reason_of_the_table() -> None:
    seen: set[str] = set()
    for place, statement in statements():
        resources = listed(statement.get("Resource", []))
        if statement["Effect"] == "Allow" and any(map(is_open, resources)):
            reason = statement.get("Sid", "").rstrip("0123456789")
            assert reason in REASONS, f"{place}: {resources}"
            seen.add(reason)
    assert seen == set(REASONS), "a reason that nothing needs is not a reason"


def test_an_open_action_is_allowed_in_the_policy_of_a_key_only() -> None:
    wild = [
        place
        for place, statement in statements()
        if statement["Effect"] == "Allow" and any("*" in action for action in listed(statement["Action"]))
    ]
    assert wild and all(place.startswith("aws:kms/key:Key ") for place in wild)


def test_everybody_is_a_principal_only_under_conditions() -> None:
    found = [statement for _, statement in statements() if statement.get("Principal") == "*"]
    assert found and all(statement["Condition"] for statement in found)


def test_every_document_is_within_what_iam_takes() -> None:
    # An inline policy of a role holds 10240 characters (IAM User Guide, quotas, read 2026-11-24).
    assert all(len(json.dumps(found)) < 10240 for found in policies().values())
