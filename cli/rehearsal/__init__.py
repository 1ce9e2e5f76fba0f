"""A rehearsal: cloud stacks on the real engine, with stand-ins where the clouds would be."""
