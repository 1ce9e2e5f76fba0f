"""A picture of a stack, from its state, as Mermaid text. The same state gives the same text.

Nodes are the components; a region's components stand in its box. An arrow A --> B says that A uses B: some resource
of A depends on one of B. Arrows that follow from others are left out, and so are those between components of one
kind: regions roll out one after the other, but none uses another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COMPONENT = "skerry:index:"
REGION = "Region"


def mermaid(resources: Sequence[Mapping[str, Any]]) -> str:
    """Args: resources: entries of `deployment.resources` of `pulumi stack export`."""
    by_urn = {entry["urn"]: entry for entry in resources}
    components = sorted(urn for urn in by_urn if _kind(urn) is not None)
    regions = [urn for urn in components if _is_region(urn)]
    shown = [urn for urn in components if urn not in regions and not _is_part(urn, by_urn)]
    identity = {urn: f"n{number}" for number, urn in enumerate(shown)}
    lines = ["flowchart LR", '    client(["client"])']
    for region in regions:
        lines.append(f'    subgraph {_name(region)}["region {_name(region)}"]')
        members = [urn for urn in shown if by_urn[urn].get("parent") == region]
        lines += [f"        {_node(urn, identity, resources)}" for urn in members]
        lines.append("    end")
    free = [urn for urn in shown if by_urn[urn].get("parent") not in regions]
    lines += [f"    {_node(urn, identity, resources)}" for urn in free]
    edges = _reduced(_edges(by_urn, shown))
    lines += [f"    client --> {identity[urn]}" for urn in free if "LoadBalancer" in (_kind(urn) or "")]
    uses = [(user, used) for user, used in sorted(edges) if _kind(user) != _kind(used)]
    lines += [f"    {identity[user]} --> {identity[used]}" for user, used in uses]
    return "\n".join(lines) + "\n"


def _kind(urn: str) -> str | None:
    kind = urn.split("::")[2].split("$")[-1]
    return kind.removeprefix(COMPONENT) if kind.startswith(COMPONENT) else None


def _name(urn: str) -> str:
    return urn.split("::")[3]


def _is_region(urn: str) -> bool:
    return (_kind(urn) or "").endswith(REGION)


def _is_part(urn: str, by_urn: Mapping[str, Mapping[str, Any]]) -> bool:
    """A component inside another that is not a region: part of how that one is made."""
    parent = by_urn[urn].get("parent", "")
    return parent in by_urn and _kind(parent) is not None and not _is_region(parent)


def _node(urn: str, identity: Mapping[str, str], resources: Iterable[Mapping[str, Any]]) -> str:
    sets = [
        entry.get("outputs", {})
        for entry in resources
        if entry["urn"].split("::")[2].endswith(":ProcessSet") and entry.get("parent") == urn
    ]
    running = sum(len(outputs.get("running") or {}) for outputs in sets)
    wanted = any(outputs.get("replicas") for outputs in sets)
    detail = f"<br/>{running} running" if running or wanted else ""
    return f'{identity[urn]}["{_name(urn)}<br/><small>{_kind(urn)}</small>{detail}"]'


def _edges(by_urn: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> set[tuple[str, str]]:
    edges = set()
    for urn, entry in by_urn.items():
        user = _owner(urn, by_urn, shown)
        for dependency in entry.get("dependencies") or []:
            used = _owner(dependency, by_urn, shown)
            if user and used and user != used:
                edges.add((user, used))
    return edges


def _owner(urn: str | None, by_urn: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> str | None:
    while urn and urn not in shown:
        urn = by_urn.get(urn, {}).get("parent")
    return urn


def _reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the edges that a longer way already shows."""
    following: dict[str, set[str]] = {}
    for user, used in edges:
        following.setdefault(user, set()).add(used)

    def reaches(start: str, goal: str) -> bool:
        return any(step == goal or reaches(step, goal) for step in following.get(start, ()))

    return {
        (user, used)
        for user, used in edges
        if not any(reaches(step, used) for step in following[user] if step != used)
    }
