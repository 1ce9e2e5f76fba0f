"""Keys of a region: one for each kind of data, used by the one agent that encrypts it."""

from __future__ import annotations

from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from components.delay import Delay
from components.gcp.agents import agent
from components.gcp.identity import IAM_SECONDS

ENCRYPTS = {"secrets": "container", "disks": "compute", "buckets": "storage"}
"""Key -> the service whose agent may use it, and nobody else: what GKE keeps in etcd, boot disks, the tiers."""
ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
ROTATION = f"{90 * 24 * 3600}s"
"""A new version every 90 days; older versions go on decrypting. Source: an older copy of Google's page "Key rotation",
which has 90 days as its example, and CIS Google Cloud benchmark 1.10, which allows no more, looked up 2026-11-24."""


class GcpKeysArgs(TypedDict):
    """Args of `GcpKeys`."""

    region: str
    """Where the key ring lies: data and key stay in one region."""
    project: str
    """Id of the project whose agents use the keys."""
    project_number: int
    """Its number."""


class GcpKeys(pulumi.ComponentResource):
    """A key ring with a key for each row of the table. Google never deletes a key ring or the name of a key, only the
    versions: both are autonamed, so that a region can be made again. They are protected: without its key, data is
    lost."""

    def __init__(self, name: str, args: GcpKeysArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("skerry:index:GcpKeys", name, {}, opts)
        mine = ResourceOptions(parent=self)
        kept = ResourceOptions(parent=self, protect=True)
        self.ring = gcp.kms.KeyRing(name, location=args["region"], opts=kept)
        self.keys = {
            use: gcp.kms.CryptoKey(
                f"{name}-{use}",
                key_ring=self.ring.id,
                purpose="ENCRYPT_DECRYPT",
                rotation_period=ROTATION,
                opts=kept,
            )
            for use in ENCRYPTS
        }
        self.grants = {
            use: gcp.kms.CryptoKeyIAMMember(
                f"{name}-{use}",
                crypto_key_id=self.keys[use].id,
                role=ROLE,
                member=agent(service, args["project"], args["project_number"], self),
                opts=mine,
            )
            for use, service in ENCRYPTS.items()
        }
        self.effective = Delay(name, IAM_SECONDS, {use: grant.id for use, grant in self.grants.items()}, mine)
        self.register_outputs({use: self.usable(use) for use in ENCRYPTS})

    def usable(self, use: str) -> Output[str]:
        """A key's id, known when the grant of its agent is effective."""
        return Output.all(self.keys[use].id, self.effective.id).apply(lambda ids: ids[0])
