"""Versions of Kubernetes on EKS, and the rule over the one that a stack file pins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from components.settings.mistakes import Mistake

AS_OF = "2026-12-01"
"""When the table was read. The rule compares with this date and not with today's: a stack file that was right stays
right until somebody renews the table."""
STANDARD_SUPPORT_ENDS: Mapping[str, str] = {
    "1.32": "2026-03-23",
    "1.33": "2026-07-29",
    "1.34": "2026-12-02",
    "1.35": "2027-03-27",
}
"""Version -> last day of its standard support, after which EKS raises clusters with support type STANDARD by itself.
Sources, read on `AS_OF`: awsdocs/amazon-eks-user-guide at 0138560, kubernetes-versions.adoc, up to 1.34; for 1.35
endoflife.date/amazon-eks as of February 2026. Newer versions are unresolved: EKS has 1.36, whose dates were not found.
So are versions of node images and of add-ons that fit a version."""
VERSION_PATTERN = r"^1\.[0-9]{2}$"
VERSION_RULE = 'a version of Kubernetes is written in quotes, such as "1.35"'


def version_is_supported(path: str, version: str | None) -> Iterable[Mistake]:
    """A pinned version stands in the table, and its standard support has not ended."""
    supported = [known for known, ends in STANDARD_SUPPORT_ENDS.items() if ends > AS_OF]
    if version is None or version in supported:
        return
    ended = STANDARD_SUPPORT_ENDS.get(version)
    yield Mistake(
        path,
        version,
        f"its standard support ended on {ended}, and EKS raises such a cluster by itself"
        if ended
        else "the table of versions (components/aws/versions.py) does not have it",
        f"Choose one of: {', '.join(supported)}; or add a row with its date and source",
    )
