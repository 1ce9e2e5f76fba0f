"""Documents of IAM as data. Pure.

What is allowed names its resource. Where it cannot, it says why: the reason is a row of the table below, and stands in
the document as the statement's Sid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = "2012-10-17"
REASONS: Mapping[str, str] = {
    "ThisKeyAlone": "the policy of a key speaks of that key, and has no other name for it",
    "ReadsListsOnly": "EC2 and Auto Scaling know no resource of what lists things; nothing can be changed by it",
    "TaggedByTheCluster": "groups get their names from EKS; the condition takes those of one cluster only",
    "KeysOfGrantedBuckets": "a bucket may lie in another region, whose key is not known here; the conditions take "
    "keys that S3 uses for the granted buckets only",
    "StreamsOfOneGroup": "a log group's streams are named by what writes them",
}
"""Sid, without a number -> why a statement names no single resource, action or principal."""


@dataclass(frozen=True)
class Statement:
    """One statement of a document."""

    actions: Sequence[str]
    resources: Sequence[str] = ()
    """None in a role's trust policy, which speaks of the role."""
    principals: Mapping[str, str] = field(default_factory=dict[str, str])
    """None in an identity's policy, which speaks of the identity."""
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    effect: str = "Allow"
    reason: str | None = None
    """Row of `REASONS`, where something is left open."""


def document(*statements: Statement) -> str:
    """A policy as JSON.

    Raises:
        ValueError: a statement that leaves something open and gives no reason, or an unknown one.
    """
    written = [_statement(number, statement) for number, statement in enumerate(statements, 1)]
    return json.dumps({"Version": VERSION, "Statement": written}, sort_keys=True)


def is_open(resource: str) -> bool:
    """Whether an ARN stands for more than one thing and what is in it: `bucket/folder/*` is one folder."""
    named = resource.removesuffix("/*")
    last = named.rpartition(":")[2]
    in_something = named == resource or "/" in last or resource.startswith("arn:aws:s3:::")
    return "*" in named or not in_something


def _statement(number: int, statement: Statement) -> dict[str, Any]:
    left_open = [
        *(resource for resource in statement.resources if is_open(resource)),
        *(action for action in statement.actions if "*" in action),
        *(principal for principal in statement.principals.values() if "*" in principal),
    ]
    if statement.reason is not None and statement.reason not in REASONS:
        raise ValueError(
            f"reason: {statement.reason!r} is none of: {', '.join(REASONS)}. Add it to the table."
        )
    if left_open and statement.effect == "Allow" and statement.reason is None:
        raise ValueError(
            f"statement {number}: {', '.join(left_open)} is left open without a reason. "
            f"Name what is meant, or give one of: {', '.join(REASONS)}."
        )
    written: dict[str, Any] = {"Effect": statement.effect, "Action": sorted(statement.actions)}
    if statement.reason is not None:
        written["Sid"] = f"{statement.reason}{number}"
    if statement.resources:
        written["Resource"] = list(statement.resources)
    if statement.principals:
        everybody = statement.principals == {"AWS": "*"}
        written["Principal"] = "*" if everybody else dict(statement.principals)
    if statement.conditions:
        written["Condition"] = {kind: dict(values) for kind, values in statement.conditions.items()}
    return written


def service_trust(service: str, **conditions: Mapping[str, Any]) -> str:
    """A trust policy for a service of AWS, such as ec2.amazonaws.com."""
    return document(
        Statement(("sts:AssumeRole",), principals={"Service": service}, conditions=conditions),
    )
