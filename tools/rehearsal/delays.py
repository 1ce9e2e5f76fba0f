"""The stand-in for `time`, whose one type in use is a delay: in a rehearsal it takes no time."""

from __future__ import annotations

from components.delay import PACKAGE as NAME
from components.delay import VERSION
from components.local.provider.values import Properties
from tools.rehearsal.package import Package, Resource


def default(resource: Resource) -> Properties:
    """The provider's id is the time at which the delay ended."""
    return {"id": resource.id or "2026-01-01T00:00:00Z"}


PACKAGE = Package(NAME, "tools/rehearsal/delays.py", default, {}, {}, pinned=VERSION)
