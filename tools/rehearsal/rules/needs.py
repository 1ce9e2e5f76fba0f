"""What must exist before what: a form of rule in which one resource needs others.

A cloud does not refuse every call that comes too early. It may accept a pod without its rights, or traffic to what does
not answer yet. Where that leaves something broken or open, even for a while, it counts as refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tools.rehearsal.account import ALLOWED, Account, Held, Rule, Verdict

Needed = Callable[[Account, Held], Iterable[Held]]
"""What a resource needs, of all that the programs declare; nothing where the rule does not concern it."""


def need(name: str, source: str, needed: Needed, refusal: str) -> Rule:
    """A rule that refuses a resource before what it needs.

    Args:
        name: of the rule.
        source: where the need is documented or reported, and when that was read.
        needed: what a resource needs.
        refusal: in the words of the cloud; the missing resource follows.
    """

    def verdict(account: Account, held: Held) -> Verdict:
        others = [other for other in needed(account, held) if other.urn != held.urn]
        for other in others:
            if account.lacks(other):
                return f"{refusal}: {other.kind} {other.name} does not exist yet"
        return ALLOWED if others else None

    return Rule(name, "create", source, verdict)


def selects(labels: Mapping[str, Any] | None, of: Mapping[str, Any] | None) -> bool:
    """Whether a selector that is not empty matches these labels."""
    return bool(labels) and (labels or {}).items() <= (of or {}).items()
