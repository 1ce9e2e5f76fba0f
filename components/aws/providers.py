"""The provider of AWS. Stacks disable the default ones, which would use whatever account and region the shell has."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi_aws as aws

GLOBAL_REGION = "us-west-2"
"""Where the API of Global Accelerator answers, wherever its endpoints are (its API as modelled in botocore 1.44.8,
read 2026-11-24)."""


def aws_provider(logical: str, account: str, region: str, tags: Mapping[str, str]) -> aws.Provider:
    """A provider for one region of one account, which tags everything that can carry tags.

    Args:
        logical: name in the stack.
        account: credentials of any other are refused before anything is made.
        region: where it makes things.
        tags: the stack's labels.
    """
    return aws.Provider(
        logical, region=region, allowed_account_ids=[account], default_tags={"tags": dict(tags)}
    )
