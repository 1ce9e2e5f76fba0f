"""What protects the data of a stack: none of it may change in a `destroy` that is refused."""

from __future__ import annotations

from collections.abc import Mapping

from tools.rehearsal.account import Held, texts
from tools.rehearsal.rules import aws, gcp

BUCKETS = (aws.BUCKET, gcp.BUCKET)
KEYS = (aws.KEY, gcp.KEY)
OF_A_KEY = ("aws:kms/keyPolicy:KeyPolicy", gcp.KEY_GRANT)


def protecting(resources: Mapping[str, Held]) -> set[str]:
    """URNs of the buckets, of their settings (encryption, versions, policy, public access), of the keys that encrypt
    them, and of what lets those keys be used. Empty for a stack without buckets."""
    buckets = [held for held in resources.values() if held.type in BUCKETS]
    parts = [
        held
        for held in resources.values()
        if any(aws.is_part(held, bucket) for bucket in buckets if bucket.type == aws.BUCKET)
    ]
    named = {text for held in (*buckets, *parts) for text in texts(held.inputs)}
    keys = [held for held in resources.values() if held.type in KEYS and held.handles & named]
    handles = {handle for key in keys for handle in key.handles}
    rings = {str(key.at("keyRing")) for key in keys}
    of_keys = [
        held
        for held in resources.values()
        if (held.type in OF_A_KEY and handles & set(texts(held.inputs))) or held.id in rings
    ]
    return {held.urn for held in (*buckets, *parts, *keys, *of_keys)}
