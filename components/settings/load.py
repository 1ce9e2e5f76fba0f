"""From a plain mapping to settings, or to every mistake in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

from pydantic import BaseModel, ValidationError

from components.settings.draft import Draft, Section, Where, entry_of, section_of
from components.settings.items import (
    ModelSettings,
    PoolSettings,
    RegionSettings,
    ServiceSettings,
    TrainingSettings,
)
from components.settings.mistakes import Mistake, SettingsError
from components.settings.model import StackSettings
from components.settings.rules import RULES
from components.settings.targets import TARGETS
from components.settings.words import in_words, place_of

SECTIONS: Mapping[str, type[BaseModel]] = {
    "regions": RegionSettings,
    "pools": PoolSettings,
    "training": TrainingSettings,
    "models": ModelSettings,
    "services": ServiceSettings,
}


def load_stack_settings(config: Mapping[str, object]) -> StackSettings:
    """Settings from what stands under `skerry:stack`.

    Raises:
        SettingsError: with all mistakes, of single values and of how they fit together.
    """
    plain = dict(config)
    settings, mistakes, wrong = None, list[Mistake](), set[Where]()
    try:
        settings = StackSettings.model_validate(plain)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            mistake = in_words(StackSettings, detail)
            if mistake is not None:
                mistakes.append(mistake)
                wrong.add(place_of(StackSettings, detail["loc"]).where)
    draft = draft_of(plain, wrong)
    mistakes += [mistake for rule in RULES for mistake in rule(draft)]
    target = TARGETS.get(draft.target.text("name") or "")
    if target is not None:
        mistakes += target.rules(draft)
    if mistakes or settings is None:
        raise SettingsError(sorted(mistakes, key=_order))
    return settings


def draft_of(config: Mapping[str, object], wrong: Collection[Where]) -> Draft:
    """What rules over several parts may rely on."""
    fields = StackSettings.model_fields
    raw = config.get("target")
    name = cast(Mapping[str, object], raw).get("name") if isinstance(raw, Mapping) else None
    target = TARGETS.get(name) if isinstance(name, str) else None
    sections: dict[str, Section] = {}
    for key, model in SECTIONS.items():
        absent = None if fields[key].is_required() else ()
        sections[key] = section_of(key, config.get(key, absent), model, wrong)
    return Draft(
        entry_of("", config, StackSettings, (), wrong),
        entry_of("target", raw, target, ("target",), wrong),
        sections,
    )


def _order(mistake: Mistake) -> tuple[int, str, int]:
    """Mistakes of one entry stand together, in the order in which settings are described."""
    found = re.match(r"(\w*)(?:\[(\d+)\])?", mistake.path)
    section, index = found.groups() if found else ("", None)
    known = list(StackSettings.model_fields)
    return known.index(section) if section in known else len(known), section, int(index or -1)
