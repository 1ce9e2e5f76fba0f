"""Reads the settings of the stack that Pulumi runs."""

from __future__ import annotations

import os
from typing import Any, cast

import pulumi
from pulumi.runtime import config as runtime_config

from components.settings.base import UNRESOLVED
from components.settings.load import load_stack_settings
from components.settings.mistakes import SettingsError
from components.settings.model import StackSettings
from components.settings.targets import TARGET_UNRESOLVED

NAMESPACE = "skerry"
KEY = "stack"
REHEARSAL = "SKERRY_REHEARSAL"
"""Set where stand-ins answer instead of a cloud."""


def read_stack_settings() -> StackSettings:
    """Settings of the current stack.

    Raises:
        pulumi.RunError: with every mistake; the engine prints only that text.
    """
    file = f"stacks/Pulumi.{pulumi.get_stack()}.yaml"
    if others := _other_keys():
        raise pulumi.RunError(
            f"{file}: there is no such key: {', '.join(others)}. All settings stand under `skerry:{KEY}`; "
            "only a secret has a key of its own (`pulumi config set --secret`). Move it there, or remove it."
        )
    try:
        config: object = cast(object, pulumi.Config(NAMESPACE).get_object(KEY))
    except pulumi.ConfigTypeError:  # text that is no JSON
        config = None
    if not isinstance(config, dict):
        raise pulumi.RunError(
            f"{file}: `config:` has no mapping `skerry:{KEY}`. Write the stack's settings there; "
            "stacks/Pulumi.local.yaml is an example and stacks/README.md explains the keys."
        )
    try:
        settings = load_stack_settings(cast(dict[str, object], config), pulumi.get_stack())
    except SettingsError as error:
        raise pulumi.RunError(f"{file}: {error}") from None
    _refuse_unresolved(file, settings)
    return settings


def _refuse_unresolved(file: str, settings: StackSettings) -> None:
    """A fact that nobody has looked up may be previewed and rehearsed, but nothing is made of it.

    Raises:
        pulumi.RunError: in an `up`, with all of them.
    """
    paths = list(TARGET_UNRESOLVED[settings.target.name](settings.target, settings.layers))
    paths += [
        f"models[{index}].digest" for index, model in enumerate(settings.models) if model.digest == UNRESOLVED
    ]
    if not paths or os.environ.get(REHEARSAL):
        return
    told = (
        f"{file}: unresolved: {', '.join(paths)}. Nobody has looked these up, so `up` makes nothing of them. "
        "Write the digests of what your registry serves (NAME@sha256:...) and of what was published; a preview and "
        "`./skerry rehearse` work without."
    )
    if not pulumi.runtime.is_dry_run():
        raise pulumi.RunError(told)
    pulumi.log.warn(told)


def _other_keys() -> list[str]:
    """Plain keys of our namespace beside the one that is read: a misspelt one would be lost in silence."""
    given: dict[str, Any] = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    ours = {
        key for key in given if key.startswith(f"{NAMESPACE}:") and not runtime_config.is_config_secret(key)
    }
    return sorted(ours - {f"{NAMESPACE}:{KEY}"})
