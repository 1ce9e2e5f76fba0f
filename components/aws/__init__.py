"""Target `aws`: regions on EKS, and Global Accelerator in front of them."""
