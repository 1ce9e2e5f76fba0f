"""Zones that offer a machine type of Compute Engine, from other sources than the catalog's.

- A2 and G2: tools/machinetypezone.csv of Cyclenerd/google-cloud-pricing-cost-calculator at 4ed73c6 (2023-05-02), which
  keeps what Google's API listed. Google has added zones since, so this has only the two regions of the stack files.
- ct5lp-hightpu-4t: Google's page "TPU regions and zones", its part on North America, read 2026-12-01.

Other machine types and regions are unresolved: they have no row, and nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Mapping

OFFERED: Mapping[str, Mapping[str, str]] = {
    "a2-highgpu-1g": {"us-central1": "abcf", "europe-west4": "ab"},
    "a2-ultragpu-1g": {"us-central1": "ac", "europe-west4": "a"},
    "g2-standard-4": {"us-central1": "abc", "europe-west4": "abc"},
    "ct5lp-hightpu-4t": {"us-central1": "a", "us-south1": "a", "us-west1": "c", "us-west4": "a"},
}
"""Machine type -> region -> letters of the zones that offer it."""


def lacks(machine: str, zone: str) -> bool:
    """Whether a zone is known not to offer a machine type."""
    region, _, letter = zone.rpartition("-")
    return letter not in OFFERED.get(machine, {}).get(region, letter)
