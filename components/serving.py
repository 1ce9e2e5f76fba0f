"""How the serving workload is started, as far as that is the same on every target."""

from __future__ import annotations

from components.settings.items import LimitSettings


def limit_flags(limits: LimitSettings) -> list[str]:
    """Words of the server's command line for what a replica takes on."""
    often = limits.requests_per_minute
    return [
        *("--slots", str(limits.slots)),
        *("--queue", str(limits.queue)),
        *("--cache-mib", str(limits.cache_mib)),
        *(("--requests-per-minute", str(often)) if often is not None else ()),
    ]
