"""Programs over the contract, as `__main__.py` is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from pulumi import Output

from components import assembly
from components.contracts import Region, RegionEndpoint, Target
from components.settings.model import StackSettings
from tests.contract.targets import Case
from tests.recorder import Recording, record


def assembled(case: Case, **changes: Any) -> Recording:
    """The whole stack; returns its outputs."""
    return _assembled(case, **changes) if changes else unchanged(case)


@cache
def unchanged(case: Case) -> Recording:
    """The whole stack, recorded once: nothing changes what was recorded."""
    return _assembled(case)


def _assembled(case: Case, **changes: Any) -> Recording:
    def program() -> Any:
        settings = case.settings(**changes)
        target = assembly.target_of(settings)
        regions = assembly.build_regions(target, settings)
        return assembly.outputs(regions, assembly.build_global_load_balancer(target, regions, settings))

    return record(program, case.answers)


def balanced(case: Case, regions: list[dict[str, Any]]) -> Recording:
    """The global layer alone, over regions that stand already; returns its URL."""
    standing = unchanged(case).returned["regions"]

    def program() -> Any:
        settings = case.settings(regions=regions)
        endpoints = {
            name: RegionEndpoint(Output.from_input(told["endpoint"]), Output.from_input(told["handle"]))
            for name, told in standing.items()
        }
        target = assembly.target_of(settings)
        found = assembly.Regions(endpoints, {}, {}, {})
        balancer = assembly.build_global_load_balancer(target, found, settings)
        return balancer.url if balancer else None

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
