"""The tiers of a region."""

from __future__ import annotations

import pytest

from components.gcp.storage import TIERS
from tests.unit.gcp.regions import PROJECT, REGION, made, one

NAMES = ("hot", "warm", "cold")


def test_each_tier_is_a_bucket_that_other_stacks_can_name() -> None:
    recording = made(lambda host: [host.tiers.hot, host.tiers.warm, host.tiers.cold])
    assert recording.returned == [f"gs://{PROJECT}-dev-{REGION}-{tier}" for tier in NAMES]
    assert {bucket.inputs["name"] for bucket in recording.of(":Bucket")} == {
        f"{PROJECT}-dev-{REGION}-{tier}" for tier in NAMES
    }


@pytest.mark.parametrize("tier", NAMES)
def test_nobody_opens_a_bucket_without_a_grant(tier: str) -> None:
    bucket = one(made(), "Bucket", f"{REGION}-tiers-{tier}")
    assert bucket["uniformBucketLevelAccess"] is True
    assert bucket["publicAccessPrevention"] == "enforced"


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_is_encrypted_by_a_key_of_our_own_in_its_region(tier: str) -> None:
    bucket = one(made(), "Bucket", f"{REGION}-tiers-{tier}")
    assert bucket["encryption"] == {"defaultKmsKeyName": f"{REGION}-keys-buckets-id"}
    assert bucket["location"] == REGION


@pytest.mark.parametrize("tier", NAMES)
def test_what_is_deleted_can_be_brought_back_and_a_full_bucket_is_not_deleted(tier: str) -> None:
    bucket = one(made(), "Bucket", f"{REGION}-tiers-{tier}")
    assert bucket["softDeletePolicy"] == {"retentionDurationSeconds": 7 * 24 * 3600}
    assert bucket["forceDestroy"] is False


def test_a_bucket_and_its_key_are_not_deleted_before_somebody_unprotects_them() -> None:
    kept = {
        kind: {found.protect for found in made().of(kind)} for kind in (":Bucket", ":KeyRing", ":CryptoKey")
    }
    assert kept == {":Bucket": {True}, ":KeyRing": {True}, ":CryptoKey": {True}}


@pytest.mark.parametrize(
    ("tier", "classes"),
    [
        ("hot", ["STANDARD"]),
        ("warm", ["STANDARD", (30, "NEARLINE"), (90, "COLDLINE")]),
        ("cold", ["COLDLINE", (365, "ARCHIVE")]),
    ],
)
def test_what_lies_longer_lies_colder(tier: str, classes: list[object]) -> None:
    bucket = one(made(), "Bucket", f"{REGION}-tiers-{tier}")
    moves = [
        (rule["condition"]["age"], rule["action"]["storageClass"])
        for rule in bucket["lifecycleRules"]
        if rule["action"]["type"] == "SetStorageClass"
    ]
    assert [bucket["storageClass"], *moves] == classes


@pytest.mark.parametrize("tier", NAMES)
def test_parts_of_an_unfinished_upload_are_removed(tier: str) -> None:
    rules = one(made(), "Bucket", f"{REGION}-tiers-{tier}")["lifecycleRules"]
    assert {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}} in rules


def test_the_ages_of_a_tier_grow() -> None:
    for tier in TIERS:
        days = [age for age, _ in tier.moves]
        assert days == sorted(set(days))
