"""What has to be true before a stack, or a region of one, is taken down: no other stack reads it, and what holds data
was given up on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cli.engine import EMBEDDED, ROOT, EngineError, engine_json, engine_text, stack_content

STACK, REFERENCE = "pulumi:pulumi:Stack", "pulumi:pulumi:StackReference"
HOLDS_DATA = (
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:kms/key:Key",
    "aws:s3/bucket:Bucket",
    "gcp:kms/cryptoKey:CryptoKey",
    "gcp:storage/bucket:Bucket",
)
"""Types that hold data or decrypt it. The state of a stack that was last brought up before they were protected has no
mark for them."""


def check(stack: str, with_data: bool) -> None:
    """Refuses what would fail half-way or lose data. Stack `local` is read by nobody and has nothing protected.

    Args:
        stack: the stack to be taken down.
        with_data: whether resources that hold data go too.

    Raises:
        EngineError: another stack reads this one; or the stack has resources that hold data and `with_data` is not set.
    """
    if stack == EMBEDDED:
        return
    readers = [
        other for other in sorted(_known(stack) - {stack}) if stack in read_by(_resources(stack, other))
    ]
    if readers:
        commands = " ".join(f"./skerry down --stack {reader}" for reader in readers)
        raise EngineError(
            f"stack {stack!r} is read by {', '.join(readers)}, whose global load balancer sends requests to it and "
            f"holds on to its network. Take its regions out of stacks/Pulumi.{readers[0]}.yaml and run "
            f"./skerry up --stack {readers[0]}, or take that stack down first: {commands}"
        )
    held = holding_data(_resources(stack, stack))
    if held and not with_data:
        raise EngineError(
            f"stack {stack!r} holds data, and nothing of it was touched. It is in: {', '.join(held)}. To remove the "
            f"data on purpose, empty its buckets and run ./skerry down --stack {stack} --with-data "
            "(docs/how-to/take-a-region-down.md)."
        )


def check_regions(stack: str) -> None:
    """Refuses an `up` that would remove a region whose endpoint another stack's load balancer holds.

    Args:
        stack: the stack to be brought up. Stack `local` is read by nobody.

    Raises:
        EngineError: a region that is up is missing in the stack file, and a stack that reads this one has it.
    """
    if stack == EMBEDDED:
        return
    declared, known = _declared_regions(stack), _known(stack)
    if declared is None or stack not in known:
        return
    removed = regions_up(_resources(stack, stack)) - declared
    for reader in sorted(known - {stack}) if removed else ():
        resources = _resources(stack, reader)
        held = sorted(removed & regions_up(resources)) if stack in read_by(resources) else []
        if held:
            raise EngineError(
                f"stacks/Pulumi.{stack}.yaml: regions: has {', '.join(sorted(declared)) or 'none'}, and not "
                f"{', '.join(held)}, which is up. Stack {reader!r} reads it: its global load balancer sends "
                "requests to the endpoint there, which must not be deleted before. First set `drained: true` for "
                f"the region in stacks/Pulumi.{reader}.yaml and run ./skerry up --stack {reader}. Once its requests "
                "have ended, remove it from that file and run that command again. Then run "
                f"./skerry up --stack {stack}."
            )


def unprotect(stack: str) -> None:
    """Lets the engine delete every resource of a stack."""
    engine_text(stack, ROOT, "state", "unprotect", "--all", "--yes")


def read_by(resources: Sequence[Any]) -> set[str]:
    """Names of the stacks that resources of a state refer to."""
    return {
        str(resource["inputs"]["name"]).rpartition("/")[2]
        for resource in resources
        if resource["type"] == REFERENCE
    }


def regions_up(resources: Sequence[Any]) -> set[str]:
    """Names of the regions in a state's outputs: those that the stack makes, or reads from other stacks."""
    return {
        name
        for resource in resources
        if resource["type"] == STACK
        for name in (resource.get("outputs") or {}).get("regions") or {}
    }


def holding_data(resources: Sequence[Any]) -> list[str]:
    """Logical names of the resources of a state that are protected, or hold data by their type; each once, sorted."""
    held = (
        resource for resource in resources if resource.get("protect") or resource.get("type") in HOLDS_DATA
    )
    return sorted({resource["urn"].rpartition("::")[2] for resource in held})


def _declared_regions(stack: str) -> set[str] | None:
    """Names of the regions that the stack file makes; None where its settings are not well formed, which the program
    refuses. Raises EngineError where the file cannot be used."""
    content = stack_content(stack)
    try:
        settings = content["config"]["skerry:stack"]
        makes = "platform" in settings.get("layers", ["platform"])
        return {region["name"] for region in settings["regions"] if makes}
    except (AttributeError, KeyError, TypeError):
        return None


def _known(stack: str) -> set[str]:
    """Names of the stacks of this project in the stack's backend."""
    return {entry["name"].rpartition("/")[2] for entry in engine_json(stack, "stack", "ls", "--json")}


def _resources(stack: str, other: str) -> Sequence[Any]:
    """Resources of a stack of the same backend; the backend is that of `stack`."""
    exported = engine_json(stack, "stack", "export", "--stack", other)
    return exported["deployment"].get("resources") or []
