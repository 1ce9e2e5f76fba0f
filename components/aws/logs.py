"""Log groups: encrypted with an own key, and kept for a while only."""

from __future__ import annotations

import pulumi_aws as aws
from pulumi import Input, ResourceOptions

RETENTION_DAYS = 90
"""One of the numbers that CloudWatch Logs takes (its API as modelled in botocore 1.44.8, PutRetentionPolicy, read
2026-11-24)."""


def log_group(
    logical: str, key: Input[str], opts: ResourceOptions, name: Input[str] | None = None
) -> aws.cloudwatch.LogGroup:
    """A log group. It tells what happened, also after a cluster is gone, so it is protected like data.

    Args:
        logical: name in the stack.
        key: ARN of the key.
        opts: whose child it is.
        name: its own name, where a service looks for one; otherwise it follows from the logical one.
    """
    kept = ResourceOptions.merge(opts, ResourceOptions(protect=True))
    return aws.cloudwatch.LogGroup(
        logical, name=name, kms_key_id=key, retention_in_days=RETENTION_DAYS, opts=kept
    )
