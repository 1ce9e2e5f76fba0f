"""Reading the regions of other stacks: the one place where a StackReference is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi import Output

from components.contracts import RegionEndpoint

OUTPUT = "regions"


def told(endpoint: RegionEndpoint) -> dict[str, Any]:
    """What a stack's outputs tell of an endpoint, and `region_of` reads again."""
    return {"endpoint": endpoint.url, "handle": endpoint.handle}


def region_of(stack: str, region: str) -> RegionEndpoint:
    """A region's endpoint from the outputs of the stack that holds it.

    Args:
        stack: name of a stack of this project.
        region: name of the region there.

    Raises:
        pulumi.RunError: when the Outputs are resolved and the stack has no such region yet; the text has the command
            to run.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
    checked: Any = Output.from_input(_known(stack, name))  # an input like any other, though declared as text
    reference = pulumi.StackReference(name, stack_name=checked)
    found = reference.get_output(OUTPUT).apply(lambda regions: _entry(stack, region, regions))
    return RegionEndpoint(
        url=found.apply(lambda entry: entry["endpoint"]),
        handle=found.apply(lambda entry: entry["handle"]),
    )


async def _known(stack: str, name: str) -> str:
    """The full name, when there is such a stack: the engine's own refusal would not say what to do."""
    try:
        await pulumi.runtime.invoke_async("pulumi:pulumi:readStackOutputs", {"name": name})
    except Exception as error:
        raise pulumi.RunError(f"regions: stack {stack!r} cannot be read: {error}. {_remedy(stack)}") from None
    return name


def _remedy(stack: str) -> str:
    return f"Bring that stack up first: ./skerry up --stack {stack}"


def _entry(stack: str, region: str, regions: Any) -> Mapping[str, str]:
    entry = regions.get(region) if isinstance(regions, Mapping) else None
    if not isinstance(entry, Mapping) or not {"endpoint", "handle"} <= set(entry):
        has = ", ".join(sorted(regions)) if isinstance(regions, Mapping) and regions else "none yet"
        raise pulumi.RunError(
            f"regions: {region!r} is not among the regions of stack {stack!r}, which has {has}. "
            f"{_remedy(stack)}"
        )
    return entry
