"""Typed settings of a stack: plain values, validated as a whole before the first resource."""

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
from components.settings.load import load_stack_settings
from components.settings.mistakes import Mistake, SettingsError
from components.settings.model import StackSettings
from components.settings.read import read_stack_settings

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
