"""The targets' own settings, as one union told apart by `name`. A new target is one line in each table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from components.local.settings import LocalTarget, local_rules
from components.settings.mistakes import Mistake
from components.settings.parts import Parts

TargetSettings = LocalTarget
"""Every target's settings: `LocalTarget | NextTarget` when there is a next one."""

TARGET_RULES: Mapping[str, Callable[[Parts, Any], Iterable[Mistake]]] = {"local": local_rules}
"""Target -> rules that hold on that target only, over the parts and the target's own settings."""


def told_apart(union: Any) -> str | None:
    """The discriminator of a union of targets; a union of one has none."""
    return "name" if get_args(union) else None
