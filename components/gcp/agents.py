"""Google's own accounts of a project, which act for its services. Pure.

Each is named after the project's number, and comes into being some time after its service's API is on and used.
Source: Google's page "Service agents" (apstndb/iam-docs-mirror at f18d8b7b) and modules/project/service-agents.yaml of
GoogleCloudPlatform/cloud-foundation-fabric at 11c1d248, read 2026-11-24. That the agent of Cloud Storage is made by
the first request for it (`gcloud storage service-agent`) is unresolved: from memory, not looked up.
"""

from __future__ import annotations

DOMAINS = {
    "compute": "compute-system",
    "container": "container-engine-robot",
    "storage": "gs-project-accounts",
}
"""Service -> the domain of its agents."""


def agent(service: str, project_number: int) -> str:
    """IAM member of a service's agent.

    Raises:
        KeyError: a service that is not in the table.
    """
    return f"serviceAccount:service-{project_number}@{DOMAINS[service]}.iam.gserviceaccount.com"
