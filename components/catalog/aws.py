"""Machines of AWS: one instance type per accelerator, the smallest with one GPU or else the one with eight.

Everything here is what EC2 answered to DescribeInstanceTypes and DescribeInstanceTypeOfferings, as the package moto
bundles it; tests compare every row. An offer is no promise of capacity, and says nothing about a quota.
ca-west-1 and me-south-1 have no m7i; there, and in no other region, pools of CPUs cannot stand.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.catalog.rows import Machine, regions_offering

SOURCE = "EC2's instance types and their offerings by region, as bundled in moto 5.2.5"
AS_OF = "2026-11-24"

OFFERED: Mapping[str, str] = {
    "af-south-1": "cpu t4",
    "ap-east-1": "cpu t4 a10g",
    "ap-northeast-1": "cpu t4 a10g l4 l40s a100-40gb a100-80gb h100-80gb h200-141gb",
    "ap-northeast-2": "cpu t4 a10g l4 l40s a100-40gb h200-141gb",
    "ap-northeast-3": "cpu t4 l40s",
    "ap-south-1": "cpu t4 a10g l4 l40s a100-40gb h100-80gb h200-141gb b200",
    "ap-south-2": "cpu l4 l40s b200",
    "ap-southeast-1": "cpu t4 a100-80gb",
    "ap-southeast-2": "cpu t4 a10g l4 a100-40gb h100-80gb",
    "ap-southeast-3": "cpu a10g h100-80gb h200-141gb",
    "ap-southeast-4": "cpu",
    "ap-southeast-5": "cpu l4",
    "ca-central-1": "cpu t4 a10g l4 a100-40gb",
    "ca-west-1": "",
    "eu-central-1": "cpu t4 a10g l4 l40s a100-40gb a100-80gb",
    "eu-central-2": "cpu l4",
    "eu-north-1": "cpu t4 a10g l4 l40s a100-40gb h100-80gb h200-141gb b200",
    "eu-south-1": "cpu t4",
    "eu-south-2": "cpu a10g l4 l40s h200-141gb",
    "eu-west-1": "cpu t4 a10g a100-40gb",
    "eu-west-2": "cpu t4 a10g l4 a100-40gb h100-80gb",
    "eu-west-3": "cpu t4 a10g l4 b200",
    "il-central-1": "cpu a10g a100-80gb",
    "me-central-1": "cpu a10g l4 l40s h200-141gb",
    "me-south-1": "t4",
    "sa-east-1": "cpu t4 a10g l4 a100-40gb h100-80gb",
    "us-east-1": "cpu t4 a10g l4 l40s a100-40gb a100-80gb h100-80gb h200-141gb b200",
    "us-east-2": "cpu t4 a10g l4 l40s a100-40gb h100-80gb h200-141gb b200",
    "us-west-1": "cpu t4 h200-141gb",
    "us-west-2": "cpu t4 a10g l4 l40s a100-40gb a100-80gb h100-80gb h200-141gb b200",
}
"""Region -> what it has of the table below."""

REGIONS = tuple(sorted(OFFERED))

MACHINES: Mapping[str, Machine] = {
    name: Machine(
        machine_type=machine_type,
        count=count,
        regions=regions_offering(name, OFFERED),
        fabric="efa" if efa_interfaces else "ethernet",
        source=SOURCE,
        as_of=AS_OF,
        efa_interfaces=efa_interfaces,
    )
    for name, machine_type, count, efa_interfaces in (
        ("cpu", "m7i.2xlarge", 0, 0),
        ("t4", "g4dn.xlarge", 1, 0),
        ("a10g", "g5.xlarge", 1, 0),
        ("l4", "g6.xlarge", 1, 0),
        ("l40s", "g6e.xlarge", 1, 0),
        ("a100-40gb", "p4d.24xlarge", 8, 4),
        ("a100-80gb", "p4de.24xlarge", 8, 4),
        ("h100-80gb", "p5.4xlarge", 1, 1),
        ("h200-141gb", "p5en.48xlarge", 8, 16),
        ("b200", "p6-b200.48xlarge", 8, 8),
    )
}
