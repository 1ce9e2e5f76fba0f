"""A rehearsal: cloud stacks on the real engine, with stand-ins where the clouds would be."""

REFUSALS, SEED = 10, 0
"""Creations that are refused in a rehearsal, all stacks together, and what chooses them."""
