"""Tiered storage of a region: a bucket per tier.

A bucket and not a prefix: default encryption, versions and metrics belong to a bucket, and a rule of one tier can then
never meet an object of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions
from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict

from components.aws.policies import Statement, document
from components.contracts import Tiers
from components.naming import physical_name

LONGEST_NAME = 63
"""Of a bucket (awsdocs/amazon-s3-userguide, bucketnamingrules.md, read 2026-11-24)."""
UPLOAD_DAYS = 7
"""After which the parts of an upload that nobody finished are removed."""
OLD_VERSION_DAYS = 30
"""How long what was deleted or replaced can be brought back."""


@dataclass(frozen=True)
class Tier:
    """A tier, and how its objects cool."""

    name: str
    moves: tuple[tuple[int, str], ...]
    """Age in days -> the colder storage class that an object then moves to."""


TIERS = (
    Tier("hot", ()),
    Tier("warm", ((30, "STANDARD_IA"), (90, "GLACIER_IR"))),
    Tier("cold", ((0, "GLACIER_IR"),)),
)
"""S3 takes objects into STANDARD_IA from their 30th day on, and bills 90 days of GLACIER_IR at least
(awsdocs/amazon-s3-userguide, lifecycle-transition-general-considerations.md and storage-class-intro.md, read
2026-11-24). GLACIER_IR is the coldest class that still answers at once: below it a URI can be read only after a
restore, of minutes to hours."""


def lifecycle(tier: Tier) -> list[BucketLifecycleConfigurationRuleArgsDict]:
    """Rules of a tier's bucket."""
    cleaning: BucketLifecycleConfigurationRuleArgsDict = {
        "id": "clean",
        "status": "Enabled",
        "filter": {},
        "abort_incomplete_multipart_upload": {"days_after_initiation": UPLOAD_DAYS},
        "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSION_DAYS},
        "expiration": {"expired_object_delete_marker": True},
    }
    cooling: BucketLifecycleConfigurationRuleArgsDict = {
        "id": "cool",
        "status": "Enabled",
        "filter": {},
        "transitions": [{"days": days, "storage_class": storage_class} for days, storage_class in tier.moves],
    }
    return [cleaning, cooling] if tier.moves else [cleaning]


def tls_only(bucket: str) -> str:
    """A bucket's policy: no request without TLS, whoever sends it."""
    arn = f"arn:aws:s3:::{bucket}"
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    return document(Statement(("s3:*",), (arn, f"{arn}/*"), {"AWS": "*"}, plain, effect="Deny"))


class AwsTieredStorageArgs(TypedDict):
    """Args of `AwsTieredStorage`."""

    stack: str
    """Name of the stack."""
    region: str
    """Where the buckets lie."""
    account: str
    """Whose they are. With the other two it makes their names, which are unique in all of AWS."""
    key: aws.kms.Key
    """Encrypts them."""


class AwsTieredStorage(pulumi.ComponentResource):
    """Buckets that nobody without a grant can open, also not by mistake.

    Buckets and their guards (policy, access block, ownership, encryption, versions, lifecycle) are protected: the
    engine refuses to delete them until they are unprotected. A bucket with objects in it is refused by S3 even then,
    and in that case nothing that protects it may have changed. So the key goes after the bucket, and guards are never
    deleted by themselves: they are part of the bucket, and end with it.
    """

    def __init__(self, name: str, args: AwsTieredStorageArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsTieredStorage", name, {}, opts)
        kept = ResourceOptions(parent=self, protect=True)
        self._bucket = ResourceOptions.merge(kept, ResourceOptions(depends_on=args["key"]))
        self._guard = ResourceOptions.merge(kept, ResourceOptions(retain_on_delete=True))
        self.buckets: dict[str, aws.s3.Bucket] = {}
        self.tiers = Tiers(**{tier.name: self._tier(name, tier, args) for tier in TIERS})
        self.register_outputs({tier.name: getattr(self.tiers, tier.name) for tier in TIERS})

    def _tier(self, name: str, tier: Tier, args: AwsTieredStorageArgs) -> Output[str]:
        """A tier's URI, known when its bucket is as safe as it will be."""
        logical = f"{name}-{tier.name}"
        bucket = physical_name(args["stack"], args["region"], args["account"], tier.name, limit=LONGEST_NAME)
        made = aws.s3.Bucket(logical, bucket=bucket, force_destroy=False, opts=self._bucket)
        self.buckets[tier.name] = made
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            logical,
            bucket=made.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": args["key"].arn,
                    },
                    # One request to KMS for many objects, instead of one each.
                    "bucket_key_enabled": True,
                }
            ],
            opts=self._guard,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            logical,
            bucket=made.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._guard,
        )
        owned = aws.s3.BucketOwnershipControls(
            logical, bucket=made.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=self._guard
        )
        versions = aws.s3.BucketVersioning(
            logical, bucket=made.bucket, versioning_configuration={"status": "Enabled"}, opts=self._guard
        )
        policy = aws.s3.BucketPolicy(
            logical,
            # S3 refuses a second change of access while one is on its way.
            bucket=Output.all(made.bucket, closed.id, owned.id).apply(lambda known: known[0]),
            policy=tls_only(bucket),
            opts=self._guard,
        )
        aws.s3.BucketLifecycleConfiguration(
            logical,
            # Rules for old versions mean nothing before there are versions.
            bucket=Output.all(made.bucket, versions.id).apply(lambda known: known[0]),
            rules=lifecycle(tier),
            opts=self._guard,
        )
        safe = Output.all(made.bucket, encryption.id, policy.id)
        return safe.apply(lambda known: f"s3://{known[0]}")
