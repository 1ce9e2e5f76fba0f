"""Where things lie: one place for every path that the set-up makes or reads."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE = ROOT / ".tools"

TOOLKIT = MADE / "toolkit"
WORKLOADS = MADE / "workloads"
REPORTS = MADE / "reports"
