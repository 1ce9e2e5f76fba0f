"""Google's provider. Without one of these nothing is made: stacks disable the default ones, which would use whatever
project the shell has chosen."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi_gcp as gcp


def google_provider(
    name: str, project: str, labels: Mapping[str, str], region: str | None = None
) -> gcp.Provider:
    """A provider of one project, which puts labels on everything that can carry them.

    Args:
        name: name in the stack.
        project: id of the project.
        labels: the stack's labels.
        region: where regional resources lie; left out for the global layer, which has none.
    """
    return gcp.Provider(name, project=project, region=region, default_labels=labels)
