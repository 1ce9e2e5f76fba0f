"""Reads the settings of the stack that Pulumi runs."""

from __future__ import annotations

import pulumi

from components.settings.load import load_stack_settings
from components.settings.mistakes import SettingsError
from components.settings.model import StackSettings

KEY = "stack"


def read_stack_settings() -> StackSettings:
    """Settings of the current stack.

    Raises:
        pulumi.RunError: with every mistake; the engine prints only that text.
    """
    file = f"stacks/Pulumi.{pulumi.get_stack()}.yaml"
    config = pulumi.Config().get_object(KEY)
    if not isinstance(config, dict):
        raise pulumi.RunError(
            f"{file}: `config:` has no mapping `skerry:{KEY}`. Write the stack's settings there; "
            "stacks/Pulumi.local.yaml is an example and stacks/README.md explains the keys."
        )
    try:
        return load_stack_settings(config)
    except SettingsError as error:
        raise pulumi.RunError(f"{file}: {error}") from None
