"""The tiers: a bucket each, closed, encrypted, and cooling as it should."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from components.aws.storage import TIERS, lifecycle, tls_only
from components.settings.items import STACK_PATTERN
from tests.unit.aws.regions import ACCOUNT, REGION, STACK, made, named, one, region

NAMES = [tier.name for tier in TIERS]
GUARDS = (
    ":BucketPolicy",
    ":BucketPublicAccessBlock",
    ":BucketOwnershipControls",
    ":BucketServerSideEncryptionConfiguration",
    ":BucketVersioning",
    ":BucketLifecycleConfiguration",
)


def of(kind: str, tier: str) -> Any:
    return one(kind, f"{REGION}-tiers-{tier}")


def rules_of(tier: str) -> dict[str, Any]:
    return {rule["id"]: rule for rule in of(":BucketLifecycleConfiguration", tier)["rules"]}


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_is_named_by_stack_region_account_and_tier(tier: str) -> None:
    assert of("s3/bucket:Bucket", tier)["bucket"] == f"{STACK}-{REGION}-{ACCOUNT}-{tier}"


def test_a_stack_with_a_long_name_still_has_three_buckets() -> None:
    long = "e" + "x" * 90
    assert re.fullmatch(STACK_PATTERN, long)
    buckets = {found.inputs["bucket"] for found in made(stack=long).of("s3/bucket:Bucket")}
    assert len(buckets) == 3 and all(len(bucket) <= 63 for bucket in buckets)


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_is_encrypted_by_a_key_of_our_own_and_asks_for_it_seldom(tier: str) -> None:
    (rule,) = of(":BucketServerSideEncryptionConfiguration", tier)["rules"]
    assert rule["bucketKeyEnabled"] is True
    default = rule["applyServerSideEncryptionByDefault"]
    assert default["sseAlgorithm"] == "aws:kms" and default["kmsMasterKeyId"].startswith("arn:aws:kms:")


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_is_closed_to_the_public_and_to_acls(tier: str) -> None:
    closed = of(":BucketPublicAccessBlock", tier)
    keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert all(closed[key] is True for key in keys)
    assert of(":BucketOwnershipControls", tier)["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_refuses_whoever_comes_without_tls(tier: str) -> None:
    bucket = of("s3/bucket:Bucket", tier)["bucket"]
    assert of(":BucketPolicy", tier)["policy"] == tls_only(bucket)
    (statement,) = json.loads(tls_only(bucket))["Statement"]
    assert statement["Effect"] == "Deny" and statement["Principal"] == "*"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


@pytest.mark.parametrize("tier", NAMES)
def test_what_is_deleted_can_be_brought_back_for_a_month(tier: str) -> None:
    assert of(":BucketVersioning", tier)["versioningConfiguration"] == {"status": "Enabled"}
    clean = rules_of(tier)["clean"]
    assert clean["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert clean["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert not of("s3/bucket:Bucket", tier)["forceDestroy"]


def test_what_replicas_load_stays_hot() -> None:
    assert set(rules_of("hot")) == {"clean"}


def test_warm_objects_cool_step_by_step_and_cold_ones_at_once() -> None:
    moves = {
        tier: [(move["days"], move["storageClass"]) for move in rules_of(tier)["cool"]["transitions"]]
        for tier in ("warm", "cold")
    }
    assert moves == {"warm": [(30, "STANDARD_IA"), (90, "GLACIER_IR")], "cold": [(0, "GLACIER_IR")]}


@pytest.mark.parametrize("tier", NAMES)
def test_the_marker_of_a_deleted_object_goes_with_its_last_version(tier: str) -> None:
    assert rules_of(tier)["clean"]["expiration"] == {"expiredObjectDeleteMarker": True}


def test_no_tier_is_so_cold_that_its_uris_cannot_be_read() -> None:
    classes = {storage_class for tier in TIERS for _, storage_class in tier.moves}
    assert classes.isdisjoint({"GLACIER", "DEEP_ARCHIVE"})


def test_every_object_is_under_every_rule_of_its_bucket() -> None:
    assert all(rule.get("filter") == {} for tier in TIERS for rule in lifecycle(tier))


def test_a_tiers_uri_is_that_of_its_bucket() -> None:
    tiers = made(lambda host: [host.tiers.hot, host.tiers.warm, host.tiers.cold]).returned
    assert list(tiers) == [f"s3://{STACK}-{REGION}-{ACCOUNT}-{tier}" for tier in NAMES]


def test_every_key_turns_over_and_can_be_saved_for_a_month() -> None:
    keys = region().of(":Key")
    assert len(keys) == 4
    assert all(key.inputs["enableKeyRotation"] and key.inputs["deletionWindowInDays"] == 30 for key in keys)


def test_only_logs_and_volumes_have_keys_that_a_service_uses() -> None:
    users = {
        use: [
            found["Principal"]
            for found in json.loads(one(":Key", f"{REGION}-keys-{use}")["policy"])["Statement"]
        ]
        for use in ("secrets", "volumes", "logs", "buckets")
    }
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert users == {
        "secrets": [root],
        "volumes": [root, "*"],
        "logs": [root, {"Service": f"logs.{REGION}.amazonaws.com"}],
        "buckets": [root],
    }
    volumes = json.loads(one(":Key", f"{REGION}-keys-volumes")["policy"])["Statement"][1]["Condition"]
    assert volumes["StringEquals"] == {
        "kms:CallerAccount": ACCOUNT,
        "kms:ViaService": f"ec2.{REGION}.amazonaws.com",
    }


DATA = ("s3/bucket:Bucket", ":LogGroup", *GUARDS)


@pytest.mark.parametrize("kind", DATA)
def test_the_engine_deletes_nothing_that_holds_or_guards_data(kind: str) -> None:
    found = region().of(kind)
    assert found and all(resource.protect for resource in found)


def test_the_engine_deletes_no_key_whose_data_outlives_the_cluster() -> None:
    kept = {key.name.rpartition("-")[2]: key.protect for key in region().of(":Key")}
    assert kept == {"buckets": True, "logs": True, "secrets": False, "volumes": False}


@pytest.mark.parametrize("tier", NAMES)
def test_a_bucket_goes_before_the_key_that_decrypts_it(tier: str) -> None:
    (bucket,) = named("s3/bucket:Bucket", f"{REGION}-tiers-{tier}")
    (key,) = named(":Key", f"{REGION}-keys-buckets")
    assert key.urn in bucket.dependencies


@pytest.mark.parametrize("kind", GUARDS)
def test_what_guards_a_bucket_ends_with_the_bucket_and_not_before(kind: str) -> None:
    found = region().of(kind)
    assert len(found) == 3 and all(guard.retain_on_delete for guard in found)
