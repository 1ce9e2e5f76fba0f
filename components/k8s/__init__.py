"""Everything above a cluster, neutral between clouds: `K8sRegion` and what it is made of."""
