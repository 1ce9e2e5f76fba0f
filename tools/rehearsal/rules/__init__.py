"""What the clouds refuse: a table of rules for each package."""

from __future__ import annotations

from tools.rehearsal.rules import aws, aws_order, gcp, gcp_order, kubernetes, kubernetes_order, shared

ORDER = (*kubernetes_order.RULES, *aws_order.RULES, *gcp_order.RULES)
"""What must exist before what."""
RULES = (*shared.RULES, *aws.RULES, *gcp.RULES, *kubernetes.RULES, *ORDER)
