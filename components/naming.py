"""Names that are published and so cannot be left to autonaming, and labels. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from components.settings.model import StackSettings

HASH_DIGITS = 8
LONGEST_LABEL = 63


def physical_name(*parts: str, limit: int) -> str:
    """Parts joined by '-', cut to a cloud's limit; what is cut ends in a hash of the whole, so that two long names
    stay two.

    Raises:
        ValueError: a limit that holds no more than the hash.
    """
    whole = "-".join(parts)
    if limit <= HASH_DIGITS + 1:
        raise ValueError(
            f"limit: {limit} characters hold no name and its hash. Allow at least {HASH_DIGITS + 2}."
        )
    if len(whole) <= limit:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:HASH_DIGITS]
    return f"{whole[: limit - HASH_DIGITS - 1].rstrip('-')}-{digest}"


def short_version(digest: str) -> str:
    """A version's name: the first 12 digits of its digest."""
    return digest.removeprefix("sha256:")[:12]


def labels_of(settings: StackSettings, stack: str) -> Mapping[str, str]:
    """Labels of everything that can carry them, by a rule that both clouds and Kubernetes share."""
    own = {
        "environment": settings.environment,
        "stack": physical_name(stack, limit=LONGEST_LABEL),
        "managed-by": "skerry",
    }
    return {**own, **settings.labels}
