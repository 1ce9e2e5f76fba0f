"""Tiered storage of a region: a bucket per tier.

A bucket per tier and not a prefix: storage class, lifecycle and retention belong to a bucket, and so each tier can be
given away, watched and billed by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
from pulumi import Input, Output, ResourceOptions
from pulumi_gcp.storage import BucketLifecycleRuleArgsDict

from components.contracts import Tiers
from components.naming import physical_name

LONGEST_NAME = 63
"""Of a bucket. Source: `Bucket.name` in pulumi-gcp 10.2.0."""
SOFT_DELETE_SECONDS = 7 * 24 * 3600
"""How long what was deleted or overwritten can be brought back, Google's default. Versioning would keep every
checkpoint that a run replaces, at full price and without end. Source: the policy's docstring in pulumi-gcp 10.2.0."""
UPLOAD_DAYS = 7
"""After which the parts of an upload that nobody finished are removed."""


@dataclass(frozen=True)
class Tier:
    """One row of the table below."""

    name: str
    storage_class: str
    """Class of new objects."""
    moves: tuple[tuple[int, str], ...]
    """Age in days -> the colder class that an object then moves to."""


TIERS = (
    Tier("hot", "STANDARD", ()),
    Tier("warm", "STANDARD", ((30, "NEARLINE"), (90, "COLDLINE"))),
    Tier("cold", "COLDLINE", ((365, "ARCHIVE"),)),
)
"""Ages are the least days that Google bills in the colder classes: 30, 90, 365. Source: the table of Google's page
"Storage classes", read 2026-11-24."""


def lifecycle(tier: Tier) -> list[BucketLifecycleRuleArgsDict]:
    """Rules of a tier's bucket."""
    moves: list[BucketLifecycleRuleArgsDict] = [
        {
            "action": {"type": "SetStorageClass", "storage_class": storage_class},
            "condition": {"age": days},
        }
        for days, storage_class in tier.moves
    ]
    return [
        *moves,
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": UPLOAD_DAYS}},
    ]


class GcpTieredStorageArgs(TypedDict):
    """Args of `GcpTieredStorage`."""

    project: str
    """Id of the project, which no other has: a bucket's name is one in all of Google."""
    environment: str
    """Environment of the stack."""
    region: str
    """Where the buckets lie."""
    key: Input[str]
    """Key that encrypts them."""


class GcpTieredStorage(pulumi.ComponentResource):
    """Buckets that nobody without a grant can open, also not by mistake: no ACLs, no public access, own key. Cloud
    Storage answers to TLS of any client; plain HTTP gets it no credential.

    The engine refuses to delete a bucket until it is unprotected, and Google refuses to delete one with objects.
    """

    def __init__(self, name: str, args: GcpTieredStorageArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpTieredStorage", name, {}, opts)
        self.buckets = {
            tier.name: gcp.storage.Bucket(
                f"{name}-{tier.name}",
                name=physical_name(
                    args["project"], args["environment"], args["region"], tier.name, limit=LONGEST_NAME
                ),
                location=args["region"],
                storage_class=tier.storage_class,
                uniform_bucket_level_access=True,
                public_access_prevention="enforced",
                encryption={"default_kms_key_name": args["key"]},
                soft_delete_policy={"retention_duration_seconds": SOFT_DELETE_SECONDS},
                lifecycle_rules=lifecycle(tier),
                force_destroy=False,
                opts=ResourceOptions(parent=self, protect=True),
            )
            for tier in TIERS
        }
        self.tiers = Tiers(
            **{tier: Output.concat("gs://", bucket.name) for tier, bucket in self.buckets.items()}
        )
        self.register_outputs({tier: getattr(self.tiers, tier) for tier in self.buckets})
