"""Versions of GKE: where clusters start, and how long Google supports that.

One row covers everything: the images of nodes and Google's add-ons (DNS, network, storage, metrics) come with the
version of the cluster.
"""

from __future__ import annotations

CHANNEL = "REGULAR"
"""Release channel: Google upgrades within it, so clusters that were made on different days arrive at one version."""
END_OF_SUPPORT = {"1.34": "2026-10-01", "1.35": "2027-04-11"}
"""Minor version -> end of standard support, as an ISO date. Source: products/google-kubernetes-engine.md of
endoflife-date/endoflife.date at 00fa52a3, which follows Google's page "GKE release schedule" as of 2026-02, read
2026-12-01. Rows of later versions are unresolved: that copy has none."""
READ = "2026-12-01"
"""Date on which the table was read."""
MINIMUM = "1.35"
"""Minor version at which a cluster starts, with its newest patch. A cluster that the channel has upgraded stays there:
the field is a minimum (`Cluster.min_master_version` in pulumi-gcp 10.2.0, and the aliases of `initialClusterVersion` of
a cluster in the discovery document of container v1)."""
