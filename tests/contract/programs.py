"""Programs over the contract, as `__main__.py` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from components import assembly
from components.contracts import Region, Target
from components.settings.model import StackSettings
from tests.contract.targets import Case
from tests.recorder import Recording, record


def assembled(case: Case, **changes: Any) -> Recording:
    """The whole stack; returns its outputs."""

    def program() -> Any:
        settings = case.settings(**changes)
        target = assembly.target_of(settings)
        regions = assembly.build_regions(target, settings)
        return assembly.outputs(regions, assembly.build_global_load_balancer(target, regions, settings))

    return record(program, case.answers)


def regions_of(
    case: Case, look: Callable[[assembly.Regions, StackSettings], Any], **changes: Any
) -> Recording:
    """The regions alone; returns what `look` sees in them."""

    def program() -> Any:
        settings = case.settings(**changes)
        return look(assembly.build_regions(assembly.target_of(settings), settings), settings)

    return record(program, case.answers)


def with_regions(case: Case, use: Callable[[list[Region], StackSettings], Any], **changes: Any) -> Recording:
    """Regions with pools, otherwise empty; returns what `use` makes of them."""

    def program() -> Any:
        settings = case.settings(**changes)
        target: Target = assembly.target_of(settings)
        regions = [target.region(region) for region in settings.regions]
        for region in regions:
            for pool in settings.pools:
                region.pool(pool)
        return use(regions, settings)

    return record(program, case.answers)
