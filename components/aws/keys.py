"""Keys of KMS: one for each kind of thing that is encrypted, so that each can be given, watched and revoked alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from components.aws.policies import Statement, document

USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
DELETION_DAYS = 30
"""How long a key that is to be deleted can still be saved: the most that KMS waits, from 7 days on (KMS API as
modelled in botocore 1.44.8, ScheduleKeyDeletion, read 2026-11-24)."""


def _of_the_account(account: str, region: str) -> Sequence[Statement]:
    """IAM decides who may use the key: without this, a key can be lost for good. Source:
    awsdocs/aws-kms-developer-guide, key-policy-default.md, read 2026-11-24."""
    return (Statement(("kms:*",), ("*",), {"AWS": f"arn:aws:iam::{account}:root"}, reason="ThisKeyAlone"),)


def _for_volumes(account: str, region: str) -> Sequence[Statement]:
    """Whoever in the account may start machines, by EC2 alone: as AWS's own key for volumes has it (KMS Developer
    Guide, `kms:CallerAccount`, read 2026-11-24 in a copy). Auto Scaling's service role cannot be named, for it is made
    with an account's first group."""
    only = {"kms:CallerAccount": account, "kms:ViaService": f"ec2.{region}.amazonaws.com"}
    return (
        Statement(
            (*USE, "kms:CreateGrant"), ("*",), {"AWS": "*"}, {"StringEquals": only}, reason="ThisKeyAlone"
        ),
    )


def _for_logs(account: str, region: str) -> Sequence[Statement]:
    """CloudWatch Logs, for groups of the account. Source for the service: awsdocs/amazon-cloudwatch-logs-user-guide,
    encrypt-log-data-kms.md; for the context's key: CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs
    using AWS Key Management Service"; both read 2026-11-24."""
    only = {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{region}:{account}:log-group:*"}
    service = {"Service": f"logs.{region}.amazonaws.com"}
    return (Statement(USE, ("*",), service, {"ArnLike": only}, reason="ThisKeyAlone"),)


USES: Mapping[str, tuple[str, Callable[[str, str], Sequence[Statement]]]] = {
    "secrets": ("Secrets of the cluster", lambda account, region: ()),
    "volumes": ("Volumes of nodes", _for_volumes),
    "logs": ("Logs of the control plane and the network", _for_logs),
    "buckets": ("Objects of the tiers", lambda account, region: ()),
}
"""What a key is for -> its description, and who may use it beside those whom IAM lets."""
OUTLIVES_THE_CLUSTER = ("buckets", "logs")
"""Uses whose data is of worth without the cluster. Secrets and volumes end with it."""


class AwsKeysArgs(TypedDict):
    """Args of `AwsKeys`."""

    account: str
    """Account of the keys."""
    region: str
    """Their region."""


class AwsKeys(pulumi.ComponentResource):
    """A key per row of `USES`. KMS replaces their material every year and keeps the old for what it encrypted. The
    engine refuses to delete a key whose data outlives the cluster until it is unprotected."""

    def __init__(self, name: str, args: AwsKeysArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:AwsKeys", name, {}, opts)
        place = (args["account"], args["region"])
        self.keys = {
            use: aws.kms.Key(
                f"{name}-{use}",
                description=f"{description}, {args['region']}",
                enable_key_rotation=True,
                deletion_window_in_days=DELETION_DAYS,
                policy=document(*_of_the_account(*place), *more(*place)),
                opts=ResourceOptions(parent=self, protect=use in OUTLIVES_THE_CLUSTER),
            )
            for use, (description, more) in USES.items()
        }
        self.register_outputs({use: key.arn for use, key in self.keys.items()})

    def arn(self, use: str) -> pulumi.Output[str]:
        """ARN of the key for a use."""
        return self.keys[use].arn
