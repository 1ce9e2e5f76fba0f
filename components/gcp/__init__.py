"""Target `gcp`: regions on GKE, and the global external Application Load Balancer in front of them."""
