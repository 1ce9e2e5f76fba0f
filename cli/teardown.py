"""What has to be true before a stack is taken down: nobody reads it, and what holds data was given up on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cli.engine import EMBEDDED, ROOT, EngineError, engine_json, engine_text

REFERENCE = "pulumi:pulumi:StackReference"


def check(stack: str, with_data: bool) -> None:
    """Refuses what would fail half-way or lose data. Stack `local` is read by nobody and has nothing protected.

    Args:
        stack: the stack to be taken down.
        with_data: whether resources that hold data go too.

    Raises:
        EngineError: another stack reads this one; or the stack has protected resources and `with_data` is not set.
    """
    if stack == EMBEDDED:
        return
    readers = [other for other in _others(stack) if stack in read_by(_resources(stack, other))]
    if readers:
        commands = " ".join(f"./skerry down --stack {reader}" for reader in readers)
        raise EngineError(
            f"stack {stack!r} is read by {', '.join(readers)}, whose global load balancer sends requests to it and "
            f"holds on to its network. Take its regions out of stacks/Pulumi.{readers[0]}.yaml and run "
            f"./skerry up --stack {readers[0]}, or take that stack down first: {commands}"
        )
    held = protected(_resources(stack, stack))
    if held and not with_data:
        raise EngineError(
            f"stack {stack!r} holds data, and nothing of it was touched. Protected: {', '.join(held)}. To remove the "
            f"data on purpose, empty its buckets and run ./skerry down --stack {stack} --with-data "
            "(docs/how-to/take-a-region-down.md)."
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


def protected(resources: Sequence[Any]) -> list[str]:
    """Logical names of the protected resources of a state, each once, sorted."""
    return sorted({resource["urn"].rpartition("::")[2] for resource in resources if resource.get("protect")})


def _others(stack: str) -> list[str]:
    listed = engine_json(stack, "stack", "ls", "--json")
    return sorted({entry["name"].rpartition("/")[2] for entry in listed} - {stack})


def _resources(stack: str, other: str) -> Sequence[Any]:
    """Resources of a stack of the same backend; the backend is that of `stack`."""
    exported = engine_json(stack, "stack", "export", "--stack", other)
    return exported["deployment"].get("resources") or []
