"""Machines of GCP: one machine type per accelerator.

- Regions are those whose zones Google's API listed with a machine type (for a T4 also with its accelerator type). A
  listing is no promise: some zones take only chosen customers, and a quota decides. Zones have a listing of their own.
- H100 comes on the machine with eight, the size for which the source gives a fabric. A3 High and A3 Mega differ in
  GPU type and fabric, hence two rows.
- A T4 is attached to an N1 machine; every other GPU is part of its machine type.
- asia-southeast3, europe-north2 and northamerica-south1 have no N2 machines, and none of the accelerators.
- A3 Ultra and A4 machines boot from Hyperdisk only, and Google sells them by reservation and as spot, not on demand.
- Slices of ct5lp-hightpu-4t are those that Google's page on TPU v5e gives this machine type for serving and training,
  and 2x4, which xpk makes of two such nodes. Google's page on TPU zones names fewer regions than the listing.

Tests compare rows with the discovery documents of compute v1, container v1 and tpu v2: regions exist, machine series
and GPU or TPU have a commitment type or a quota metric, RDMA stands where Google has it. What those documents do not
tell is from the source alone: which region has what, accelerators per machine, TCPX and TCPXO, slice topologies.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.catalog.rows import Machine, regions_offering, zones_listed

SOURCE = (
    "machine and accelerator types that Google's API listed, kept by region in tools/*region.csv of "
    "Cyclenerd/google-cloud-pricing-cost-calculator at 8bf3293a; GPU types, fabrics and TPU types in "
    "src/xpk/core/system_characteristics.py of AI-Hypercomputer/xpk at 4f782c32; "
    "Google's pages on GPUs and on TPU v5e"
)
AS_OF = "2026-08-17"

OFFERED: Mapping[str, str] = {
    "africa-south1": "cpu",
    "asia-east1": "cpu t4 l4 h100-80gb h100-mega-80gb tpu-v5e",
    "asia-east2": "cpu t4",
    "asia-northeast1": "cpu t4 l4 a100-40gb h100-80gb h100-mega-80gb b200 tpu-v5e",
    "asia-northeast2": "cpu",
    "asia-northeast3": "cpu t4 l4 a100-40gb h100-80gb",
    "asia-south1": "cpu t4 l4 h100-80gb h200-141gb",
    "asia-south2": "cpu h100-80gb h200-141gb",
    "asia-southeast1": "cpu t4 l4 a100-40gb a100-80gb h100-80gb h100-mega-80gb b200 tpu-v5e",
    "asia-southeast2": "cpu t4",
    "asia-southeast3": "",
    "australia-southeast1": "cpu t4 h100-80gb h100-mega-80gb",
    "australia-southeast2": "cpu h100-80gb",
    "europe-central2": "cpu t4",
    "europe-north1": "cpu h100-80gb h100-mega-80gb b200 tpu-v5e",
    "europe-north2": "",
    "europe-southwest1": "cpu",
    "europe-west1": "cpu t4 l4 h100-80gb h100-mega-80gb h200-141gb b200 tpu-v5e",
    "europe-west10": "cpu",
    "europe-west12": "cpu",
    "europe-west2": "cpu t4 l4",
    "europe-west3": "cpu t4 l4 h100-80gb h100-mega-80gb tpu-v5e",
    "europe-west4": "cpu t4 l4 a100-40gb a100-80gb h100-80gb h100-mega-80gb h200-141gb b200 tpu-v5e",
    "europe-west6": "cpu l4",
    "europe-west8": "cpu",
    "europe-west9": "cpu h100-80gb",
    "me-central1": "cpu",
    "me-central2": "cpu l4",
    "me-west1": "cpu t4 a100-40gb",
    "northamerica-northeast1": "cpu t4 l4 tpu-v5e",
    "northamerica-northeast2": "cpu l4",
    "northamerica-south1": "",
    "southamerica-east1": "cpu t4",
    "southamerica-west1": "cpu tpu-v5e",
    "us-central1": "cpu t4 l4 a100-40gb a100-80gb h100-80gb h100-mega-80gb h200-141gb b200 tpu-v5e",
    "us-east1": "cpu t4 l4 a100-40gb b200 tpu-v5e",
    "us-east4": "cpu t4 l4 a100-80gb h100-80gb h100-mega-80gb h200-141gb b200 tpu-v5e",
    "us-east5": "cpu a100-80gb h100-80gb h100-mega-80gb h200-141gb tpu-v5e",
    "us-south1": "cpu h200-141gb b200 tpu-v5e",
    "us-west1": "cpu t4 l4 a100-40gb h100-80gb h100-mega-80gb h200-141gb tpu-v5e",
    "us-west2": "cpu t4 b200",
    "us-west3": "cpu t4 a100-40gb b200",
    "us-west4": "cpu t4 l4 a100-40gb h100-80gb h100-mega-80gb tpu-v5e",
}
"""Region -> what it has of the table below."""

REGIONS = tuple(sorted(OFFERED))

ZONES: Mapping[str, str] = {
    "l4": (
        "asia-east1:abc asia-northeast1:abc asia-northeast3:ab asia-south1:abc asia-southeast1:abc europe-west1:bc "
        "europe-west2:ab europe-west3:ab europe-west4:abc europe-west6:bc me-central2:ac northamerica-northeast1:bc "
        "northamerica-northeast2:ab us-central1:abc us-east1:bcd us-east4:ac us-west1:abc us-west4:ac"
    ),
    "a100-40gb": (
        "asia-northeast1:ac asia-northeast3:ab asia-southeast1:abc europe-west4:ab me-west1:ac us-central1:abcf "
        "us-east1:b us-west1:b us-west3:b us-west4:b"
    ),
    "a100-80gb": "asia-southeast1:c europe-west4:a us-central1:ac us-east4:c us-east5:ab",
    "h100-80gb": (
        "asia-east1:c asia-northeast1:b asia-south1:c asia-south2:b asia-southeast1:bc australia-southeast1:c "
        "europe-north1:c europe-west1:bc europe-west3:c europe-west4:bc europe-west9:c us-central1:abc us-east4:abc "
        "us-east5:a us-west1:ab us-west4:a"
    ),
    "h100-mega-80gb": (
        "asia-east1:c asia-northeast1:b asia-southeast1:bc australia-southeast1:c europe-north1:c europe-west1:bc "
        "europe-west3:c europe-west4:bc us-central1:abc us-east4:abc us-east5:a us-west1:ab us-west4:a"
    ),
    "h200-141gb": (
        "asia-south1:b asia-south2:c europe-west1:b europe-west4:a us-central1:b us-east4:b us-east5:a us-south1:b "
        "us-west1:c"
    ),
    "b200": (
        "asia-northeast1:b asia-southeast1:b europe-north1:b europe-west4:b us-central1:b us-east1:b us-east4:b "
        "us-south1:b us-west2:c us-west3:bc"
    ),
}
"""Accelerator -> the zones of its machine type, each region with the letters of its zones. Source:
catalogs/v8/gcp/vms.csv of skypilot-org/skypilot-catalog at 006059e0, which keeps what Google's API lists, read
2026-12-01. Regions that this listing lacks and the one above has, and T4 and TPUs, have no listing by zone: a stack
file has to name their zones in `accelerator_zones`. Machines without an accelerator are taken to be in every zone."""

PERSISTENT, HYPERDISK = "pd-balanced", "hyperdisk-balanced"
"""Types of boot disks. Sources, read 2026-12-01: `NodePoolNodeConfig.disk_type` in pulumi-gcp 10.2.0 (what GKE takes by
default), `DiskSpec.bootDiskType` of aiplatform v1 (A3 Ultra: hyperdisk-balanced), NVIDIA/aicr#2338 (GKE refuses
pd-balanced for A4X, a sister of A4). That A4 itself takes Hyperdisk only is unresolved: no refusal of it was found."""
NOT_ON_DEMAND = ("on-demand",)
"""Google's page "Consumption options" of AI Hypercomputer, read 2026-12-01: A4 and A3 Ultra come by future reservation,
flex-start and spot. Flex-start is no rung of a ladder."""

MEMORY_GIB: Mapping[str, int] = {
    "cpu": 32,
    "t4": 15,
    "l4": 16,
    "a100-40gb": 85,
    "a100-80gb": 170,
    "h100-80gb": 1872,
    "h100-mega-80gb": 1872,
    "h200-141gb": 2952,
    "b200": 3968,
    "tpu-v5e": 192,
}
"""Memory of the machine types below. It limits what a pod may take and decides nothing else. Sources, read 2026-12-01:
the column MemoryGiB of the same catalog for A2, Google's page "Accelerator-optimized machine family" for A3 High, and
192 GiB for ct5lp-hightpu-4t in a repository's notes. The other rows are unresolved: from memory, not looked up."""

_CPUS_AND_GPUS = {
    name: Machine(
        machine_type=machine_type,
        count=count,
        regions=regions_offering(name, OFFERED),
        fabric=fabric,
        source=SOURCE,
        as_of=AS_OF,
        memory_mib=MEMORY_GIB[name] * 1024,
        gpu_type=gpu_type,
        zones=zones_listed(name, ZONES),
        disk_type=disk_type,
        not_sold=not_sold,
    )
    for name, machine_type, count, gpu_type, fabric, disk_type, not_sold in (
        ("cpu", "n2-standard-8", 0, "", "ethernet", PERSISTENT, ()),
        ("t4", "n1-standard-4", 1, "nvidia-tesla-t4", "ethernet", PERSISTENT, ()),
        ("l4", "g2-standard-4", 1, "nvidia-l4", "ethernet", PERSISTENT, ()),
        ("a100-40gb", "a2-highgpu-1g", 1, "nvidia-tesla-a100", "ethernet", PERSISTENT, ()),
        ("a100-80gb", "a2-ultragpu-1g", 1, "nvidia-a100-80gb", "ethernet", PERSISTENT, ()),
        ("h100-80gb", "a3-highgpu-8g", 8, "nvidia-h100-80gb", "gpudirect-tcpx", PERSISTENT, ()),
        ("h100-mega-80gb", "a3-megagpu-8g", 8, "nvidia-h100-mega-80gb", "gpudirect-tcpxo", PERSISTENT, ()),
        ("h200-141gb", "a3-ultragpu-8g", 8, "nvidia-h200-141gb", "rdma", HYPERDISK, NOT_ON_DEMAND),
        ("b200", "a4-highgpu-8g", 8, "nvidia-b200", "rdma", HYPERDISK, NOT_ON_DEMAND),
    )
}

MACHINES: Mapping[str, Machine] = {
    **_CPUS_AND_GPUS,
    "tpu-v5e": Machine(
        machine_type="ct5lp-hightpu-4t",
        count=4,
        regions=regions_offering("tpu-v5e", OFFERED),
        fabric="ici",
        disk_type=PERSISTENT,
        source=SOURCE,
        as_of=AS_OF,
        memory_mib=MEMORY_GIB["tpu-v5e"] * 1024,
        topologies=("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
        tpu_type="tpu-v5-lite-podslice",
    ),
}
