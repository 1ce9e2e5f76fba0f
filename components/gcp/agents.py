"""Google's own accounts of a project, which act for its services. Pure.

Each is named after the project's number. Source: Google's page "Service agents", read 2026-11-24. An agent comes into
being with its service's API; that of Cloud Storage with the first request for it (`gcloud storage service-agent`).
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
