"""What every settings class shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NAME_RULE = "lower-case letters, digits and '-', a letter first, no '-' last, at most 40 characters"
NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name that Kubernetes, both clouds and a file system accept: it becomes part of names there."""


UNRESOLVED = "unresolved"
"""A fact that nobody has looked up: it can be previewed and rehearsed, and `up` refuses it."""


class Frozen(BaseModel):
    """Immutable, strict about types, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
