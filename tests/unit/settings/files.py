"""Stack files of the project and of the tests, and settings to spoil."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.load import load_stack_settings
from components.settings.mistakes import Mistake, SettingsError

ROOT = Path(__file__).resolve().parents[3]
STACK_FILES = sorted((ROOT / "stacks").glob("Pulumi.*.yaml"))
FIXTURES = sorted((ROOT / "tests" / "fixtures" / "stacks").glob("*.yaml"))
FILES = [*STACK_FILES, *FIXTURES]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def settings_of(path: Path) -> dict[str, Any]:
    return read(path)["config"]["skerry:stack"]


LOCAL = settings_of(ROOT / "stacks" / "Pulumi.local.yaml")


def spoiled(**changes: Any) -> dict[str, Any]:
    """The local stack's settings with some of them replaced; None takes one away."""
    settings = {**copy.deepcopy(LOCAL), **changes}
    return {key: value for key, value in settings.items() if value is not None}


def mistakes_of(settings: Any) -> dict[str, Mistake]:
    """Every mistake, by its path."""
    with pytest.raises(SettingsError) as caught:
        load_stack_settings(settings)
    found = {mistake.path: mistake for mistake in caught.value.mistakes}
    assert len(found) == len(caught.value.mistakes), f"one place, two mistakes: {caught.value}"
    return found


def only_mistake_of(settings: Any) -> Mistake:
    """The mistake of settings that have just one."""
    (mistake,) = mistakes_of(settings).values()
    return mistake
