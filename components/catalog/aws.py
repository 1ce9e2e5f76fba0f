"""Machines of AWS: one instance type per accelerator, the smallest with one GPU or else the one with eight.

Everything here is what EC2 answered to DescribeInstanceTypes and DescribeInstanceTypeOfferings, as the package moto
bundles it; tests compare every row. An offer is no promise of capacity, and says nothing about a quota.
ca-west-1 and me-south-1 have no m7i; there, and in no other region, pools of CPUs cannot stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.catalog.rows import Machine, regions_offering

SOURCE = "EC2's instance types and their offerings by region, as bundled in moto 5.2.5"
AS_OF = "2026-11-24"

OFFERED: Mapping[str, str] = {
    "af-south-1": "cpu t4:bc",
    "ap-east-1": "cpu t4 a10g:ab",
    "ap-northeast-1": "cpu t4 a10g:ac l4:ac l40s:ac a100-40gb:ac a100-80gb:ac h100-80gb:c h200-141gb:a",
    "ap-northeast-2": "cpu t4:abc a10g:acd l4:acd l40s:ab a100-40gb:bd h200-141gb:a",
    "ap-northeast-3": "cpu t4:bc l40s:bc",
    "ap-south-1": "cpu t4 a10g:ab l4:ab l40s:ab a100-40gb h100-80gb h200-141gb:ab b200:c",
    "ap-south-2": "cpu l4:ab l40s:ab b200:b",
    "ap-southeast-1": "cpu t4 a100-80gb:bc",
    "ap-southeast-2": "cpu t4 a10g:bc l4 a100-40gb:bc h100-80gb:a",
    "ap-southeast-3": "cpu a10g:ac h100-80gb:a h200-141gb:bc",
    "ap-southeast-4": "cpu",
    "ap-southeast-5": "cpu l4:ab",
    "ca-central-1": "cpu t4:ab a10g:ab l4 a100-40gb:ab",
    "ca-west-1": "",
    "eu-central-1": "cpu t4 a10g l4 l40s a100-40gb a100-80gb:ac",
    "eu-central-2": "cpu l4:bc",
    "eu-north-1": "cpu t4 a10g:bc l4:ab l40s:ab a100-40gb:c h100-80gb h200-141gb:ac b200:b",
    "eu-south-1": "cpu t4:bc",
    "eu-south-2": "cpu a10g l4 l40s:bc h200-141gb:ab",
    "eu-west-1": "cpu t4 a10g a100-40gb:c",
    "eu-west-2": "cpu t4:abc a10g:ab l4:abc a100-40gb:ab h100-80gb:abc",
    "eu-west-3": "cpu t4 a10g l4:bc b200:a",
    "il-central-1": "cpu a10g a100-80gb",
    "me-central-1": "cpu a10g:ab l4:ab l40s:ab h200-141gb:ac",
    "me-south-1": "t4:bc",
    "sa-east-1": "cpu t4 a10g:ab l4:ab a100-40gb:ac h100-80gb:c",
    "us-east-1": "cpu:abcdf t4:abcdf a10g:abcdf l4:abcdf l40s:abcd "
    "a100-40gb:abcd a100-80gb:bc h100-80gb h200-141gb:ac b200:c",
    "us-east-2": "cpu t4 a10g l4 l40s a100-40gb h100-80gb h200-141gb b200",
    "us-west-1": "cpu t4 h200-141gb:b",
    "us-west-2": "cpu t4:abc a10g:abc l4 l40s a100-40gb a100-80gb:abc h100-80gb h200-141gb:acd b200:abd",
}
"""Region -> what it has of the table below, with the letters of the zones that offer it where not all do. A zone's name
means another zone in another account, and this is the answer of one account: a stack file may say otherwise."""
SYSTEM = "system"
"""Stands for the machine of the system nodes, m5.large, beside the names of accelerators."""
SYSTEM_ZONES: Mapping[str, str] = {"eu-west-2": "abc", "us-east-1": "abcdf"}
"""Region -> letters of the zones that offer m5.large, where not all do."""

REGIONS = tuple(sorted(OFFERED))
NAMES = {
    region: " ".join(offer.partition(":")[0] for offer in offers.split())
    for region, offers in OFFERED.items()
}
LETTERS = {
    **{
        (region, name): letters
        for region, offers in OFFERED.items()
        for name, _, letters in (offer.partition(":") for offer in offers.split())
        if letters
    },
    **{(region, SYSTEM): letters for region, letters in SYSTEM_ZONES.items()},
}
"""Region and accelerator, or `SYSTEM` -> letters of the zones that offer its machine, where not all do."""

MACHINES: Mapping[str, Machine] = {
    name: Machine(
        machine_type=machine_type,
        count=count,
        regions=regions_offering(name, NAMES),
        fabric="efa" if efa_interfaces else "ethernet",
        source=SOURCE,
        as_of=AS_OF,
        memory_mib=memory_mib,
        efa_interfaces=efa_interfaces,
    )
    for name, machine_type, count, memory_mib, efa_interfaces in (
        ("cpu", "m7i.2xlarge", 0, 32768, 0),
        ("t4", "g4dn.xlarge", 1, 16384, 0),
        ("a10g", "g5.xlarge", 1, 16384, 0),
        ("l4", "g6.xlarge", 1, 16384, 0),
        ("l40s", "g6e.xlarge", 1, 32768, 0),
        ("a100-40gb", "p4d.24xlarge", 8, 1179648, 4),
        ("a100-80gb", "p4de.24xlarge", 8, 1179648, 4),
        ("h100-80gb", "p5.4xlarge", 1, 262144, 1),
        ("h200-141gb", "p5en.48xlarge", 8, 2097152, 16),
        ("b200", "p6-b200.48xlarge", 8, 2097152, 8),
    )
}


def offering(name: str, zones: Sequence[str]) -> tuple[str, ...]:
    """Those of some zones that offer an accelerator's machine, or that of the system nodes.

    Args:
        name: of the accelerator, or `SYSTEM`; it is offered in their region.
        zones: each a region and a letter.
    """
    return tuple(zone for zone in zones if zone[-1] in LETTERS.get((zone[:-1], name), zone[-1]))
