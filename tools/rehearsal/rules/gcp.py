"""What Google Cloud refuses."""

from __future__ import annotations

import re

from tools.rehearsal.account import ALLOWED, Account, Held, Identity, Rule, Verdict, texts, users
from tools.rehearsal.rules.gcp_zones import OFFERED, lacks

BUCKET, CLUSTER = "gcp:storage/bucket:Bucket", "gcp:container/cluster:Cluster"
KEY, RING = "gcp:kms/cryptoKey:CryptoKey", "gcp:kms/keyRing:KeyRing"
KEY_GRANT, POOL = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", "gcp:container/nodePool:NodePool"
SLEEP = "time:index/sleep:Sleep"
IN_USE = ("gcp:compute/network:Network", "gcp:compute/subnetwork:Subnetwork")
HYPERDISK_ONLY = ("a3-ultragpu-", "a4-highgpu-")
"""Machine types that boot from hyperdisks alone."""

WITHIN = {"gcp:dns/recordSet:RecordSet": ("managedZone", "type")}
"""Type -> inputs within which its names are unique, beside the project: two private zones may hold one name."""


def identity(held: Held) -> Identity | None:
    """Grants may be made twice: Google takes the second for the first."""
    if "IAM" in held.kind or not isinstance(held.inputs.get("name"), str):
        return None
    within = (str(held.at(key)) for key in WITHIN.get(held.type, ()))
    return (held.type, str(held.at("project") or ""), *within, held.id)


def kept(held: Held) -> Identity | None:
    """What Google keeps for ever of a key or a key ring."""
    return identity(held) if held.type in (KEY, RING) else None


def pool_exists(account: Account, grant: Held) -> Verdict:
    member = str(grant.inputs.get("member", ""))
    found = re.search(r"([a-z0-9-]+\.svc\.id\.goog)", member)
    if found is None:
        return None
    for cluster in account.of(CLUSTER):
        if cluster.at("workloadIdentityConfig.workloadPool") == found[1]:
            return ALLOWED
    return f"googleapi: Error 400: Identity Pool does not exist ({found[1]})., invalid"


def key_is_granted(account: Account, held: Held) -> Verdict:
    """A key is used by an agent that may not use it yet. A grant takes minutes, so a delay stands behind it."""
    if held.type not in (BUCKET, CLUSTER, POOL):
        return None
    named = set(texts(held.inputs))
    keys = [key for key in account.declared(KEY) if key.id in named]
    if not keys:
        return None
    for key in keys:
        grants = [grant for grant in account.declared(KEY_GRANT) if grant.at("cryptoKeyId") == key.id]
        ready = [grant for grant in grants if not account.lacks(grant) and _waited_for(account, held, grant)]
        if not ready:
            return f"googleapi: Error 403: Permission denied on Cloud KMS key {key.id}. Its grant is not effective"
    return ALLOWED


def _waited_for(account: Account, held: Held, grant: Held) -> bool:
    """Whether a delay stands between a grant and what needs it. Without an order nothing can be said."""
    if not held.before:
        return True
    return any(sleep.urn in held.before and grant.urn in sleep.before for sleep in account.declared(SLEEP))


def boots_from_a_disk_it_has(account: Account, pool: Held) -> Verdict:
    if pool.type != POOL:
        return None
    machine = str(pool.at("nodeConfig.machineType") or "")
    disk = str(pool.at("nodeConfig.diskType") or pool.at("nodeConfig.bootDisk.diskType") or "pd-balanced")
    if machine.startswith(HYPERDISK_ONLY) and not disk.startswith("hyperdisk"):
        return f"googleapi: Error 400: {disk} disk type cannot be used by {machine} machine type., badRequest"
    return ALLOWED


def offered_in_every_zone(account: Account, pool: Held) -> Verdict:
    if pool.type != POOL:
        return None
    machine = str(pool.at("nodeConfig.machineType") or "")
    if machine not in OFFERED:
        return None
    for zone in pool.at("nodeLocations") or []:
        if lacks(machine, zone):
            return f"googleapi: Error 400: Machine type {machine} does not exist in zone {zone}., badRequest"
    return ALLOWED


def reserved_in_one_zone(account: Account, pool: Held) -> Verdict:
    if pool.type != POOL or pool.at("nodeConfig.reservationAffinity.consumeReservationType") != (
        "SPECIFIC_RESERVATION"
    ):
        return None
    zones = pool.at("nodeLocations") or []
    if len(zones) != 1:
        return (
            f"googleapi: Error 400: the reservation was not found in each of {', '.join(zones)}, badRequest"
        )
    return ALLOWED


def empty(account: Account, bucket: Held) -> Verdict:
    if bucket.type != BUCKET:
        return None
    if account.objects and not bucket.at("forceDestroy"):
        return f"googleapi: Error 409: The bucket you tried to delete is not empty ({bucket.id})., conflict"
    return ALLOWED


def encrypts_nothing(account: Account, held: Held) -> Verdict:
    """The provider destroys all versions of a key. Without them, or without the grant of the agent that decrypts,
    nobody reads what a bucket holds."""
    if held.type not in (KEY, KEY_GRANT):
        return None
    key = held.id if held.type == KEY else held.at("cryptoKeyId")
    for bucket in account.of(BUCKET):
        if key in texts(bucket.inputs):
            return f"googleapi: Error 400: bucket {bucket.id} is encrypted with {key}, failedPrecondition"
    return ALLOWED


def unused(account: Account, held: Held) -> Verdict:
    if held.type not in IN_USE:
        return None
    for user in users(account, held):
        return (
            f"googleapi: Error 400: The {held.kind.lower()} resource '{held.id}' is already being used by "
            f"'{user.id}', resourceInUseByAnotherResource"
        )
    return ALLOWED


RULES = (
    Rule(
        "gcp-identity-pool-exists",
        "create",
        "terraform-google-modules/terraform-google-kubernetes-engine#916; read 2026-11-30",
        pool_exists,
    ),
    Rule(
        "gcp-key-is-granted",
        "create",
        "terraform-google-modules/terraform-google-kms#39; IAM, Access change propagation; read 2026-12-01",
        key_is_granted,
    ),
    Rule(
        "gcp-disk-fits-machine",
        "create",
        "NVIDIA/aicr#2338, for a sister of these machine types; read 2026-11-30",
        boots_from_a_disk_it_has,
    ),
    Rule(
        "gcp-offered-in-every-zone",
        "create",
        "tools/rehearsal/rules/gcp_zones.py has the zones and their sources; the words of the refusal are unresolved",
        offered_in_every_zone,
    ),
    Rule(
        "gcp-reserved-in-one-zone",
        "create",
        "Compute Engine, Reserved zonal resources; read 2026-11-30",
        reserved_in_one_zone,
    ),
    Rule("gcp-bucket-is-empty", "delete", "Cloud Storage, 409 of Buckets: delete; read 2026-11-30", empty),
    Rule(
        "gcp-key-encrypts-nothing",
        "delete",
        "of this rehearsal: Google accepts and the data cannot be read any more; docstring of kms.CryptoKey",
        encrypts_nothing,
    ),
    Rule("gcp-unused", "delete", "Compute Engine's error resourceInUseByAnotherResource", unused),
)
