"""The order that a program guarantees, read from a stack's state, and what the rules say of it.

A call that comes too early may find what it needs by luck, since stand-ins answer at once. So every creation is judged
once more with the least that must exist by then: what the resource depends on, and the stacks before its own. Every
deletion is judged with the most that may still exist: everything but what depends on the resource.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tools.rehearsal.account import Account, Call, Held, judge
from tools.rehearsal.rules import RULES

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key that marks a secret in a state, Pulumi's sdk/go/common/resource/sig (read 2026-12-01)."""
Judged = dict[str, set[str]]
"""Rule -> URNs of the resources that it judged."""


def held(state: Mapping[str, Any]) -> dict[str, Held]:
    """Resources of an exported state with plain secrets, by URN, and what is before each; components are left out."""
    entries = {entry["urn"]: entry for entry in state["deployment"].get("resources") or []}
    before = _before(entries)
    return {
        urn: Held(
            urn,
            _plain(entry.get("inputs") or {}),
            _plain(entries.get(_provider(entry), {}).get("inputs") or {}),
            entry.get("id", ""),
            outputs=_plain(entry.get("outputs") or {}),
            before=frozenset(before[urn]),
        )
        for urn, entry in entries.items()
        if entry.get("custom") and not entry["type"].startswith("pulumi:")
    }


def mistakes(stacks: Sequence[Mapping[str, Held]], judged: Judged) -> list[str]:
    """What a cloud would refuse of the last of these stacks, which are up in this order."""
    earlier = {urn: item for stack in stacks[:-1] for urn, item in stack.items()}
    own = stacks[-1]
    known = {**earlier, **own}
    after: dict[str, set[str]] = defaultdict(set)
    for item in own.values():
        for urn in item.before:
            after[urn].add(item.urn)
    found: list[str] = []
    for item in own.values():
        least = {urn: known[urn] for urn in (*earlier, *(item.before & own.keys()))}
        most = {urn: other for urn, other in known.items() if urn not in after[item.urn]}
        calls: tuple[tuple[Call, dict[str, Held]], ...] = (("create", least), ("delete", most))
        for call, present in calls:
            judgement = judge(RULES, Account(present, known), call, item)
            for rule in judgement.judged:
                judged.setdefault(rule, set()).add(item.urn)
            found += [
                f"{call} {item.urn}: {text} (rehearsal rule {rule})" for rule, text in judgement.refusals
            ]
    return found


def _before(entries: Mapping[str, Any]) -> dict[str, set[str]]:
    """URN -> everything that the engine makes before it. A state lists resources after those that they depend on."""
    found: dict[str, set[str]] = {}
    for urn, entry in entries.items():
        direct = {*(entry.get("dependencies") or ()), entry.get("parent"), _provider(entry)}
        direct |= {
            name for names in (entry.get("propertyDependencies") or {}).values() for name in names or ()
        }
        direct &= found.keys()
        found[urn] = direct.union(*(found[name] for name in direct))
    return found


def _provider(entry: Mapping[str, Any]) -> str:
    return str(entry.get("provider", "")).rpartition("::")[0]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if SIGNATURE in value and "plaintext" in value:
            return _plain(json.loads(value["plaintext"]))
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
