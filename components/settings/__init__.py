"""Typed settings of a stack: plain values, validated as a whole before the first resource.

What knows every target is loaded on first use: a target's own settings need this package, which needs theirs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from components.settings.items import (
    EndpointSettings,
    HealthSettings,
    Layer,
    ModelSettings,
    PoolSettings,
    RegionSettings,
    Scheme,
    ServiceSettings,
    TrainingSettings,
)
from components.settings.mistakes import Mistake, SettingsError

if TYPE_CHECKING:
    from components.settings.load import load_stack_settings
    from components.settings.model import StackSettings
    from components.settings.read import read_stack_settings

LATER = {"StackSettings": "model", "load_stack_settings": "load", "read_stack_settings": "read"}

__all__ = [
    "EndpointSettings",
    "HealthSettings",
    "Layer",
    "Mistake",
    "ModelSettings",
    "PoolSettings",
    "RegionSettings",
    "Scheme",
    "ServiceSettings",
    "SettingsError",
    "StackSettings",
    "TrainingSettings",
    "load_stack_settings",
    "read_stack_settings",
]


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
