"""Benchmarks: claims that must hold and aims to reach, with raw samples in `results/`."""
