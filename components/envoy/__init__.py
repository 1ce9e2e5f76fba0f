"""What Envoy is told: the gateway of a region, and the balancer in front of regions."""
