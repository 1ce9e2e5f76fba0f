"""How long before a node is taken away a target says so."""

from __future__ import annotations

from collections.abc import Mapping

SPOT_NOTICE_SECONDS: Mapping[str, int] = {"aws": 120, "gcp": 25}
"""Target -> seconds that the pods of a spot node have from the notice to the end of the node.

AWS: EC2 User Guide, "Spot Instance interruption notices", read 2026-11-24. GCP: 30 seconds (Google's page "Spot VMs" of
GKE, read 2026-11-24), of which the node's own pods take 5.
"""
