"""Patterns for what a resource was given: what is written must be there, whatever else stands beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.output import Unknown


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands where a mapping has no such key. An input that is None never reaches the engine: it is missing too."""


@dataclass(frozen=True)
class Matcher:
    """A rule for a value that is not known letter by letter."""

    words: str
    holds: Callable[[Any], bool]

    def __repr__(self) -> str:
        return self.words


anything = Matcher("anything", lambda value: value is not MISSING)
"""There is a value, known or not."""
absent = Matcher("absent", lambda value: value is MISSING)
"""There is no such key."""
unknown = Matcher("unknown", lambda value: isinstance(value, Unknown))
"""Known only after `up`: what a preview shows as computed."""


def matching(regex: str) -> Matcher:
    """A text in which the expression is found."""
    return Matcher(
        f"matching({regex!r})", lambda value: isinstance(value, str) and re.search(regex, value) is not None
    )


def containing(*patterns: Any) -> Matcher:
    """A list that has an element for every pattern, in any order, and maybe others."""
    words = f"containing({', '.join(map(repr, patterns))})"
    return Matcher(
        words,
        lambda value: (
            isinstance(value, list)
            and all(any(not mismatches(pattern, element) for element in value) for pattern in patterns)
        ),
    )


def json_text(pattern: Any) -> Matcher:
    """A text that is JSON and, read as such, matches: a policy, a task definition, a handle."""

    def holds(value: Any) -> bool:
        try:
            return not mismatches(pattern, json.loads(value))
        except (TypeError, ValueError):
            return False

    return Matcher(f"json_text({pattern!r})", holds)


def mismatches(pattern: Any, value: Any, path: str = "") -> list[str]:
    """Where a value differs from a pattern, a line each; nothing if it matches.

    A mapping matches any that has its keys; a list matches one of the same length, element by element; a matcher
    says itself what it matches; all else matches what is equal to it, and True is not 1.
    """
    differs = [f"{path or 'it'}: expected {pattern!r}, found {_shown(value)}"]
    if isinstance(pattern, Matcher):
        return [] if pattern.holds(value) else differs
    if isinstance(pattern, Mapping):
        if not isinstance(value, Mapping):
            return differs
        return [
            line
            for key, inner in pattern.items()
            for line in mismatches(inner, value.get(key, MISSING), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(pattern, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(pattern):
            return differs
        return [
            line
            for index, inner in enumerate(pattern)
            for line in mismatches(inner, value[index], f"{path}[{index}]")
        ]
    same = value == pattern and isinstance(value, bool) == isinstance(pattern, bool)
    return [] if same else differs


def _shown(value: Any) -> str:
    return "unknown" if isinstance(value, Unknown) else repr(value)
