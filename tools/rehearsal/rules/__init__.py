"""What the clouds refuse: a table of rules for each package."""

from __future__ import annotations

from tools.rehearsal.rules import aws, gcp, kubernetes, shared

RULES = (*shared.RULES, *aws.RULES, *gcp.RULES, *kubernetes.RULES)
