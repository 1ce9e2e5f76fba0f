"""How large the key/value cache may be: a setting, held against the memory that is there when a server starts."""

from pathlib import Path

from workloads.serving.cache import BLOCK_TOKENS

MIB = 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # of this container, where there is one


class BadCacheSize(Exception):
    """The cache does not fit this machine or container, or is too small for anything."""


def positions_of(mib: int, models: int, free: int, position_bytes: int) -> int:
    """Positions of a cache of `mib` MiB, when as many models as that take one each of `free` bytes.

    Raises BadCacheSize when they may not, or when that is less than a block.
    """
    if models * mib * MIB > free:
        each = f" for each of {models} models" if models > 1 else ""
        raise BadCacheSize(
            f"--cache-mib {mib}{each}: {free // MIB} MiB of memory are available here; "
            "give less, or the server more memory"
        )
    positions = mib * MIB // position_bytes
    if positions < BLOCK_TOKENS:
        raise BadCacheSize(
            f"--cache-mib {mib}: that is {positions} positions of this model, {position_bytes} bytes each, and the "
            f"cache is given out in blocks of {BLOCK_TOKENS}; give {-(-BLOCK_TOKENS * position_bytes // MIB)} or more"
        )
    return positions


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int:
    """Bytes that this process could still take: what the system calls available, and a container's limit."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return free  # no container of the second kind
    if limit == "max":
        return free
    # file pages are given up under pressure: a mapped model counts there
    return min(free, int(limit) - int(used) + int(statistics["inactive_file"]))
