"""Google's own accounts of a project (service agents), which act for its services.

Each is named after the project's number. The agents of Compute Engine and of GKE exist once their APIs are enabled,
which docs/decisions/0009-gcp.md asks of a project. The agent of Cloud Storage exists only after a request for it, so it
is looked up: the look-up creates it. Sources: Google's page "Service agents" (apstndb/iam-docs-mirror at f18d8b7b) and
modules/project/service-agents.yaml of GoogleCloudPlatform/cloud-foundation-fabric at 11c1d248, read 2026-11-24; the
docstring of `get_project_service_account` in pulumi-gcp 10.2.0, read 2026-12-01.
"""

from __future__ import annotations

import pulumi_gcp as gcp
from pulumi import Input, InvokeOutputOptions, Resource

DOMAINS = {"compute": "compute-system", "container": "container-engine-robot"}
"""Service -> the domain of its agent, for services whose agent comes with the API."""


def agent(service: str, project: str, project_number: int, parent: Resource) -> Input[str]:
    """IAM member of a service's agent, which exists.

    Args:
        service: `compute`, `container` or `storage`.
        project: id of the project.
        project_number: its number.
        parent: resource whose provider answers the look-up.

    Raises:
        KeyError: a service that is not in the table.
    """
    if service == "storage":
        found = gcp.storage.get_project_service_account_output(
            project=project, opts=InvokeOutputOptions(parent=parent)
        )
        return found.member
    return f"serviceAccount:service-{project_number}@{DOMAINS[service]}.iam.gserviceaccount.com"
