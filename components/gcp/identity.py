"""Identities of pods: a Kubernetes service account is itself a principal of IAM, and is granted folders of buckets.

No Google service account stands in between, and nothing is annotated. Source: the form of the member in Google's page
"Principal identifiers" of IAM (apstndb/iam-docs-mirror at f18d8b7b), read 2026-11-24.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

import pulumi
import pulumi_gcp as gcp
from pulumi import Output, ResourceOptions

from components.contracts import Access, Egress, Grant, TierAccess
from components.gcp.network import PRIVATE_RANGE

ROLES = {Access.READ: "roles/storage.objectViewer", Access.WRITE: "roles/storage.objectUser"}
"""Read and list; the same, create, replace and delete (to replace is to delete). Source: Google's page "Cloud Storage
roles and permissions" of IAM (apstndb/iam-docs-mirror at f18d8b7b), read 2026-11-24."""
METADATA_SERVER = "169.254.169.254/32"
METADATA_PORTS = (80, 8080)
"""Where pods get credentials on Dataplane V2. Source: public projects that follow Google's page name port 80, or 80 and
8080, looked up 2026-11-24. The page itself was not opened; whether 8080 is needed is unresolved."""
IAM_SECONDS = 120
"""How long a change of a policy takes to be effective. Google's page "Access change propagation" of IAM: typically 2
minutes, potentially 7 or longer; last updated 2025-10-01, read 2026-12-01. No call of the program can observe it for
another account: what still fails after that is refused as before, and the next `up` continues."""
BUCKET_TYPE = "storage.googleapis.com/Bucket"
HTTPS = 443
EGRESS = (
    *(Egress(METADATA_SERVER, port) for port in METADATA_PORTS),
    Egress(PRIVATE_RANGE, HTTPS),
)


def principal(project_number: int, pool: str, namespace: str, account: str) -> str:
    """IAM member of a service account. Clusters of one project share it: environments want projects of their own.

    Args:
        project_number: number of the project.
        pool: name of its workload identity pool.
        namespace: namespace of the service account.
        account: its name.
    """
    path = f"projects/{project_number}/locations/global/workloadIdentityPools/{pool}"
    return f"principal://iam.googleapis.com/{path}/subject/ns/{namespace}/sa/{account}"


def bucket_of(uri: str) -> str:
    """Bucket of a gs:// URI."""
    return uri.removeprefix("gs://").partition("/")[0]


def condition(uri: str) -> str:
    """IAM condition that holds for the objects of a folder, and for listing names in its bucket.

    Listing is asked of the bucket, not of an object, so a folder's reader sees the names of the whole bucket and the
    content of the folder alone. An attribute for the listed prefix exists, and is supported in Credential Access
    Boundaries only (Google's page "Attribute reference for IAM Conditions", apstndb/iam-docs-mirror at f18d8b7b). This
    form was seen in several public configurations that say so too. Both read 2026-11-24.
    """
    folder = uri.removeprefix("gs://").partition("/")[2].strip("/")
    prefix = f"{folder}/" if folder else ""
    objects = json.dumps(f"projects/_/buckets/{bucket_of(uri)}/objects/{prefix}")
    return f'resource.type == "{BUCKET_TYPE}" || resource.name.startsWith({objects})'


class GcpAccessArgs(TypedDict):
    """Args of `GcpAccess`."""

    pool: Output[str]
    """Name of the project's workload identity pool, from the cluster: the first cluster of a project makes the pool,
    and IAM refuses a member of a pool that does not exist."""
    project_number: int
    """Number of the project."""
    namespace: str
    """Namespace of the service account."""
    account: str
    """Its name."""


class GcpAccess(pulumi.ComponentResource):
    """What one service account may do, and nothing else. A grant's condition is entitled by the component's name: two
    regions that grant the same keep a binding each."""

    def __init__(
        self,
        name: str,
        args: GcpAccessArgs,
        grants: Sequence[Grant],
        opts: ResourceOptions | None = None,
    ) -> None:
        super().__init__("skerry:index:GcpAccess", name, {}, opts)
        member = args["pool"].apply(
            lambda pool: principal(args["project_number"], pool, args["namespace"], args["account"])
        )
        self.grants = [
            gcp.storage.BucketIAMMember(
                f"{name}-{index}",
                bucket=grant.uri.apply(bucket_of),
                role=ROLES[grant.access],
                member=member,
                condition={
                    "title": f"{name}-{index}",
                    "description": "One folder",
                    "expression": grant.uri.apply(condition),
                },
                opts=ResourceOptions(parent=self),
            )
            for index, grant in enumerate(grants)
        ]
        granted = Output.all(*(grant.id for grant in self.grants)).apply(lambda _: args["account"])
        self.access = TierAccess(granted, EGRESS)
        self.register_outputs({"granted": granted})
